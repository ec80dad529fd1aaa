//! The guides of `docs/how-to/`, carried out: each diff of a guide applies to the tree, and a copy of the tree
//! with all diffs builds, passes its tests, and answers as the guide says. Without one of the diffs, the compiler
//! or the test that the guide names finds the forgotten place.

mod add_a_projection;
mod add_an_event;
mod copy;
mod guide;

use guide::Guide;

/// The tests of a copy: the domain and the read models, the documents, the rules of the code. The rest of the
/// tests take minutes.
const TESTS: [&str; 6] = ["account::", "read_side::", "event_types::", "openapi::", "tidy::", "golden"];

#[test]
fn every_diff_of_every_guide_applies_to_the_tree() {
    let guides = Guide::all();
    assert!(!guides.is_empty(), "no guide was found");
    for guide in guides {
        guide.assert_applies();
    }
}

#[test]
#[ignore = "builds a copy of the tree: some minutes"]
fn a_tree_with_the_diffs_of_a_guide_passes_its_tests() {
    for guide in Guide::all() {
        guide.carried_out().tests(&TESTS).expect_success();
    }
}

#[test]
#[ignore = "builds a copy of the tree for each diff: some minutes"]
fn a_diff_that_a_reader_of_a_guide_forgets_is_found() {
    for guide in Guide::all() {
        guide.assert_each_forgotten_step_is_found();
    }
}
