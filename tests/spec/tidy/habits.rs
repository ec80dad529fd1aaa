//! Habits of the code: no unwraps, no unbounded queues, no discarded results of the storage, no sleeps.

use super::source::Source;

#[test]
fn input_is_never_unwrapped_and_no_queue_is_unbounded() {
    for source in Source::files("src") {
        for line in source.code_without_tests() {
            for forbidden in [".unwrap()", "mpsc::channel", " channel()", "unimplemented!", "todo!"] {
                assert!(!line.contains(forbidden), "{}: {}", source.path.display(), line.trim());
            }
        }
    }
}

/// Modules that handle results of the storage. `drop(..)` marks a result that does not matter, with a
/// comment that gives the reason.
const NEAR_THE_STORAGE: [&str; 5] =
    ["src/es", "src/read_side", "src/write_side", "src/service", "src/registry"];

/// These write to the terminal, into a string, and to a channel of this process.
const FAR_FROM_IT: [&str; 4] =
    ["service/config/", "service/logger.rs", "service/metrics/", "service/shutdown.rs"];

#[test]
fn no_result_of_the_storage_is_discarded_in_passing() {
    let is_near = |source: &Source| {
        let path = source.path.to_string_lossy();
        !FAR_FROM_IT.iter().any(|part| path.contains(part))
    };
    for source in NEAR_THE_STORAGE.into_iter().flat_map(Source::files).filter(is_near) {
        for line in source.code_without_tests() {
            let line = line.trim();
            let discards = line.starts_with("let _ =") || (line.ends_with(".ok();") && !line.contains(" = "));
            assert!(!discards, "{}: {line}", source.path.display());
        }
    }
}

#[test]
fn tests_wait_for_conditions_and_never_sleep() {
    // In two pieces, or this line would find itself.
    let sleep = ["thread::", "sleep("].concat();
    for source in Source::files("tests") {
        assert!(!source.text.contains(&sleep), "{}: wait for a condition", source.path.display());
    }
    for source in Source::files("src") {
        let tests = source.text.split_once("mod tests {").map_or("", |(_, tests)| tests);
        assert!(!tests.contains(&sleep), "{}: wait for a condition", source.path.display());
    }
}
