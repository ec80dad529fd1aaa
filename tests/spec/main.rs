//! The specification: what the services promise, held against the real binaries.

// Every failure here is to stop the test with its reason.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod bank;
mod counter;
mod every_service;
mod history;
mod support;

mod command_execution;
mod event_store;
mod kinds;
mod log_files;

mod write_side;

mod backup;
mod damage;
mod database_file;
mod database_names;
mod disk_faults;
mod golden_databases;
mod tools_of_the_trade;
mod verify;

mod copies;
mod discovery_client;
mod discovery_faults;
mod readers;
mod registry;
mod registry_peer;
mod slow_line;

mod http_attacks;
mod http_engine;
mod http_peer;

mod bad_input;
mod common_rules;

mod client;
mod command_line;
mod freshness;
mod log_lines;
mod openapi;
mod operations;
mod ops;
mod prometheus;
mod ready;
mod rebuild_under_load;
mod refill;
mod registered_processes;
mod whole_system;

mod crashes;
mod flat_cost;
mod fuzz;
mod overload;

mod browser;
mod how_to;
mod readme;

mod tidy;
