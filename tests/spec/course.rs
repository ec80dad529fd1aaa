//! The course: the commands of each chapter run and answer as written, and all chapters are built alike.
//!
//! `docs/course/lesson.sh --check` runs the exercises.

use crate::documents::{Document, Stage};

/// One test for each chapter, so that the chapters run at the same time.
macro_rules! chapters {
    ($($name:ident: $file:literal,)*) => {
        const CHAPTERS: &[&str] = &[$($file),*];
        $(
            #[test]
            fn $name() {
                Stage::run(&Document::read(concat!("docs/course/", $file)));
            }
        )*
    };
}

chapters! {
    every_command_of_chapter_01_answers_as_written: "01-events-before-state.md",
    every_command_of_chapter_02_answers_as_written: "02-commands-and-decisions.md",
    every_command_of_chapter_04_answers_as_written: "04-the-log-and-its-feed.md",
    every_command_of_chapter_05_answers_as_written: "05-projections-and-checkpoints.md",
    every_command_of_chapter_06_answers_as_written: "06-eventual-consistency.md",
    every_command_of_chapter_07_answers_as_written: "07-rebuild-and-time-travel.md",
}

#[test]
fn every_chapter_is_listed_here() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/course");
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut chapters: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    chapters.retain(|name| name.starts_with(|first: char| first.is_ascii_digit()));
    chapters.sort();
    assert_eq!(chapters, CHAPTERS);
}
