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
    // Write
    every_command_of_chapter_01_answers_as_written: "01-events-before-state.md",
    every_command_of_chapter_02_answers_as_written: "02-commands-and-decisions.md",
    every_command_of_chapter_03_answers_as_written: "03-versions-and-conflicts.md",
    // Read
    every_command_of_chapter_04_answers_as_written: "04-the-log-and-its-feed.md",
    every_command_of_chapter_05_answers_as_written: "05-projections-and-checkpoints.md",
    every_command_of_chapter_06_answers_as_written: "06-eventual-consistency.md",
    every_command_of_chapter_07_answers_as_written: "07-rebuild-and-time-travel.md",
    // Run and change
    every_command_of_chapter_08_answers_as_written: "08-discovery-and-leases.md",
    every_command_of_chapter_09_answers_as_written: "09-crash-and-sync.md",
    every_command_of_chapter_10_answers_as_written: "10-changing-events.md",
}

const PARTS: [&str; 8] = [
    "You will be able to",
    "Picture",
    "Predict",
    "Run",
    "Break it",
    "Mend it",
    "Check yourself",
    "In other systems",
];
const QUESTIONS: usize = 3;
/// A chapter is read at one sitting.
const MAX_CHAPTER_LINES: usize = 150;
/// Of the prose. Commands and answers are as long as they are.
const MAX_LINE: usize = 120;

fn read(name: &str) -> String {
    let path = format!("{}/docs/course/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// `Events before state`, whose chapter begins with `# 1. Events before state`.
fn title(number: usize, chapter: &str) -> String {
    let start = format!("# {number}. ");
    let title = chapter.lines().next().and_then(|line| line.strip_prefix(&start));
    title.unwrap_or_else(|| panic!("chapter {number} begins with a line {start}Title")).to_owned()
}

/// The lines of a chapter outside of blocks of code and output.
fn prose(chapter: &str) -> impl Iterator<Item = &str> {
    chapter.split("\n```").step_by(2).flat_map(str::lines)
}

#[test]
fn every_chapter_is_executed_and_listed() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/course");
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut chapters: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    chapters.retain(|name| name.starts_with(|first: char| first.is_ascii_digit()));
    chapters.sort();
    assert_eq!(chapters, CHAPTERS, "tests/spec/course.rs runs the chapters that it lists");
    let titles = CHAPTERS.iter().enumerate().map(|(index, file)| title(index + 1, &read(file)));
    for (list, numbered) in [("SUMMARY.md", true), ("README.md", false)] {
        let listed: Vec<_> = read(list).lines().filter_map(link_to_a_chapter).collect();
        let expected = CHAPTERS.iter().zip(titles.clone()).enumerate().map(|(index, (file, title))| {
            let title = if numbered { format!("{}. {title}", index + 1) } else { title };
            format!("[{title}]({file})")
        });
        assert_eq!(listed, expected.collect::<Vec<_>>(), "docs/course/{list} lists the chapters");
    }
}

/// `[Title](01-file.md)` of the line of a list.
fn link_to_a_chapter(line: &str) -> Option<String> {
    let link = &line[line.find('[')?..line.find(".md)")? + 4];
    let is_chapter = link.contains(|digit: char| digit.is_ascii_digit());
    is_chapter.then(|| link.to_owned())
}

#[test]
fn every_chapter_has_all_parts_in_order_and_leads_to_the_next() {
    for (index, file) in CHAPTERS.iter().enumerate() {
        let chapter = read(file);
        let parts: Vec<_> = prose(&chapter).filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(parts, PARTS, "{file}");
        let questions = chapter.split("## Check yourself").nth(1).unwrap().matches("<details>").count();
        assert_eq!(questions, QUESTIONS, "{file}: questions");
        assert_eq!(chapter.matches("<details>").count(), chapter.matches("</details>").count(), "{file}");
        if let Some(next) = CHAPTERS.get(index + 1) {
            let link = format!("Next: [{}. {}]({next})", index + 2, title(index + 2, &read(next)));
            assert_eq!(chapter.lines().last(), Some(&*link), "{file} ends with the way to the next chapter");
        }
    }
}

#[test]
fn every_chapter_is_short() {
    for file in CHAPTERS {
        let chapter = read(file);
        let lines = chapter.lines().count();
        assert!(lines <= MAX_CHAPTER_LINES, "{file}: {lines} lines");
        let long = prose(&chapter).find(|line| line.chars().count() > MAX_LINE);
        assert!(long.is_none(), "{file}: longer than {MAX_LINE}: {long:?}");
    }
}

#[test]
fn every_chapter_has_a_lesson_with_its_three_files() {
    for (index, file) in CHAPTERS.iter().enumerate() {
        let lesson = format!("lesson_{:02}", index + 1);
        for folder in ["src", "solutions", "lessons"] {
            let name = format!("exercises/{folder}/{lesson}.rs");
            assert!(read(&name).starts_with("//! "), "{name}: begin with what it is");
        }
        let package = read("exercises/src/lib.rs");
        assert!(package.contains(&format!("pub mod {lesson};")), "exercises/src/lib.rs lacks {lesson}");
        let mend = read(file);
        for words in [format!("exercises/src/{lesson}.rs"), format!("just lesson {} --solution", index + 1)] {
            assert!(mend.contains(&words), "{file} does not name {words}");
        }
    }
}
