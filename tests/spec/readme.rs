//! README.md and docs/tour.md, executed: every command runs, and answers as written.

use crate::documents::{Document, Stage};

#[test]
fn every_command_of_the_readme_answers_as_written() {
    let readme = Document::read("README.md");
    assert!(readme.steps.len() > 10, "the walk was not found");
    Stage::run(&readme);
}

/// The tour begins where step 1 of the README's walk ends.
#[test]
fn every_command_of_the_tour_answers_as_written() {
    let mut stage = Stage::empty();
    let readme = Document::read("README.md").steps;
    let step_1 = readme.iter().position(|step| step.command.starts_with("curl ")).expect("a walk");
    readme[..=step_1].iter().for_each(|step| stage.perform(step));
    Document::read("docs/tour.md").steps.iter().for_each(|step| stage.perform(step));
}
