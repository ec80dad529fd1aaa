//! What an HTTP engine must do: one rule, one test, the same for each engine.
//!
//! The list below is the whole of it. Where tiny_http cannot follow, the line says why: `fails`
//! is asserted (a release that passes will be noticed), `skipped` would take the process or the
//! test's time with it. That list is the reason why the default engine is our own.

mod full_and_stopping;
mod rules;

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
    empty_lines_before_a_request_are_skipped: fails "it takes an empty line for a request line";
    an_absolute_target_is_understood;
    a_large_answer_arrives_whole;
    head_gets_the_length_and_no_body;
    answers_without_content_have_no_body_and_no_length;
    a_client_that_has_ended_sending_still_gets_its_answer;
    a_burst_of_connections_is_answered_at_once: skipped "its pool hands two connections to one idle thread, and the second starves until the first ends; how many do is chance";

    // Bodies.
    a_body_of_known_length_reaches_the_handler_whole;
    a_chunked_body_reaches_the_handler_whole;
    chunk_extensions_and_trailers_are_ignored: fails "it does not know chunk extensions";
    after_a_chunked_body_the_next_request_is_understood;
    a_client_that_expects_100_is_told_to_continue;

    // Persistence.
    connection_close_is_honoured;
    http_1_0_closes_unless_asked_not_to;

    // Refusals.
    refusals_are_problems_and_close_the_connection: fails "its own refusals have no body";
    lengths_that_are_no_number_are_refused: fails "it takes them for no body";
    lengths_above_the_limit_are_413: fails "it reads a body to its end before it can answer";
    lengths_beyond_all_memory_are_413: skipped "it reserves the announced length, which ends the whole process";
    chunked_bodies_above_the_limit_are_413: fails "it reads a body to its end before it can answer";
    a_refusal_arrives_although_the_client_is_still_sending: fails "it reads a body to its end before it can answer";
    repeated_or_conflicting_lengths_are_refused: fails "it takes the first: request smuggling";
    a_length_beside_a_coding_is_refused: fails "it ignores the length, as a proxy before it may not: request smuggling";
    codings_other_than_chunked_are_501: fails "it takes every coding for chunked";
    a_coding_in_http_1_0_is_refused: fails "it takes chunked bodies from HTTP/1.0";
    malformed_chunks_are_refused: fails "it goes on reading the connection after them";
    endless_chunk_lines_and_trailers_are_refused: fails "it has no limit on chunk lines";
    a_truncated_body_never_reaches_the_handler: fails "it closes without an answer, and takes a longer truncated body for a complete one";
    a_request_without_exactly_one_host_is_refused: fails "it does not look at Host";
    bare_line_ends_are_refused: fails "it waits on for a carriage return";
    spaces_before_a_colon_and_folded_lines_are_refused: fails "its own refusals have no body";
    garbage_is_refused: fails "it closes without an answer when a head is not ASCII";
    other_versions_are_505: fails "it leaks the thread and the descriptors of an HTTP/2 client";
    heads_above_the_limit_are_431: fails "it has no limit on heads";
    too_many_headers_are_431: fails "it has no limit on headers";

    // Deadlines.
    a_slow_head_is_408: fails "it has no head deadline";
    a_slow_body_is_408: fails "it has no body deadline";
    an_idle_connection_is_closed_in_silence: fails "it has no idle timeout";
    a_client_that_does_not_read_is_dropped: fails "it has no write deadline";

    // Handlers.
    a_panic_is_a_500_for_that_request_alone;
    an_answer_cannot_be_split_by_a_header_value;

    // Room.
    when_all_connections_work_the_next_gets_503: fails "it has no limit on connections";
    when_all_connections_idle_one_gives_way: fails "it has no limit on connections";

    // The end.
    stopping_closes_idle_connections_at_once: fails "its connections cannot be closed from outside";
    stopping_lets_a_request_that_is_arriving_finish: fails "it accepts connections until its last request has ended";
    stopping_lets_requests_in_flight_finish: fails "it accepts connections until its last request has ended";
    stopping_abandons_what_does_not_end_in_time: fails "its connections cannot be closed from outside";
}

/// Asserts that the rule does not hold on tiny_http, for the `reason` given.
#[cfg(feature = "tiny_http")]
fn must_fail(rule: fn(Setup), reason: &str) {
    let setup = Setup { engine: Engine::TinyHttp, patience: std::time::Duration::from_secs(1) };
    let outcome = std::panic::catch_unwind(|| rule(setup));
    assert!(outcome.is_err(), "tiny_http passes now; it was listed because {reason}");
}
