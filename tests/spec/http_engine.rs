//! What an HTTP engine must do: one rule, one test, the same for each engine.
//!
//! The list below is the whole of it. Where tiny_http cannot follow, the line says why: `fails`
//! is asserted (a release that passes will be noticed), `skipped` would take the process or the
//! test's time with it. That list is the reason why the default engine is our own.

mod rules;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tally::http::Engine;

use super::http_peer::Setup;

macro_rules! rules {
    ($($name:ident $(: $verdict:ident $reason:literal)?;)*) => {
        mod blocking {
            $(#[test] fn $name() { super::rules::$name(super::Setup::on(super::Engine::Blocking)); })*
        }
        #[cfg(feature = "tiny_http")]
        mod tiny_http {
            $(on_tiny_http! { $name $($verdict $reason)? })*
        }
    };
}

#[cfg(feature = "tiny_http")]
macro_rules! on_tiny_http {
    ($name:ident) => {
        #[test]
        fn $name() {
            super::rules::$name(super::Setup::on(super::Engine::TinyHttp));
        }
    };
    ($name:ident fails $reason:literal) => {
        #[test]
        fn $name() {
            super::must_fail(super::rules::$name, $reason);
        }
    };
    ($name:ident skipped $reason:literal) => {
        #[test]
        #[ignore = $reason]
        fn $name() {
            super::rules::$name(super::Setup::on(super::Engine::TinyHttp));
        }
    };
}

rules! {
    // Requests and answers.
    an_answer_has_its_length_and_date;
    a_connection_serves_many_requests;
    pipelined_requests_are_answered_in_order;
    a_request_may_come_byte_by_byte;
    empty_lines_before_a_request_are_skipped;
    an_absolute_target_is_understood;
    a_large_answer_arrives_whole;
    head_gets_the_length_and_no_body;
    answers_without_content_have_no_body_and_no_length;
    a_client_that_has_ended_sending_still_gets_its_answer;
    a_burst_of_connections_is_answered_at_once;

    // Bodies.
    a_body_of_known_length_reaches_the_handler_whole;
    a_chunked_body_reaches_the_handler_whole;
    chunk_extensions_and_trailers_are_ignored;
    after_a_chunked_body_the_next_request_is_understood;
    a_client_that_expects_100_is_told_to_continue;

    // Persistence.
    connection_close_is_honoured;
    http_1_0_closes_unless_asked_not_to;

    // Refusals.
    refusals_are_problems_and_close_the_connection;
    lengths_that_are_no_number_are_refused;
    lengths_above_the_limit_are_413;
    lengths_beyond_all_memory_are_413;
    chunked_bodies_above_the_limit_are_413;
    a_refusal_arrives_although_the_client_is_still_sending;
    repeated_or_conflicting_lengths_are_refused;
    a_length_beside_a_coding_is_refused;
    codings_other_than_chunked_are_501;
    a_coding_in_http_1_0_is_refused;
    malformed_chunks_are_refused;
    endless_chunk_lines_and_trailers_are_refused;
    a_truncated_body_never_reaches_the_handler;
    a_request_without_exactly_one_host_is_refused;
    bare_line_ends_are_refused;
    spaces_before_a_colon_and_folded_lines_are_refused;
    garbage_is_refused;
    other_versions_are_505;
    heads_above_the_limit_are_431;
    too_many_headers_are_431;

    // Deadlines.
    a_slow_head_is_408;
    a_slow_body_is_408;
    an_idle_connection_is_closed_in_silence;
    a_client_that_does_not_read_is_dropped;

    // Handlers.
    a_panic_is_a_500_for_that_request_alone;
    an_answer_cannot_be_split_by_a_header_value;

    // Room.
    when_all_connections_work_the_next_gets_503;
    when_all_connections_idle_one_gives_way;

    // The end.
    stopping_closes_idle_connections_at_once;
    stopping_lets_requests_in_flight_finish;
    stopping_abandons_what_does_not_end_in_time;
}

/// Asserts that the rule does not hold on tiny_http, for the `reason` given.
#[cfg_attr(not(feature = "tiny_http"), allow(dead_code))]
fn must_fail(rule: fn(Setup), reason: &str) {
    for engine in Engine::ALL.iter().filter(|engine| **engine != Engine::Blocking) {
        let setup = Setup { engine: *engine, patience: Duration::from_secs(1) };
        let outcome = catch_unwind(AssertUnwindSafe(|| rule(setup)));
        assert!(outcome.is_err(), "{engine} passes now; it was listed because {reason}");
    }
}
