//! The exercises of the course: `lesson_NN.rs` belongs to chapter N of `docs/course`.
//!
//! Each file compiles, and makes the mistake of its chapter. `just lesson N` runs the tests of the lesson, which fail
//! until you have mended the file; `just lesson N --solution` shows one way.

// Write
#[cfg_attr(feature = "solutions", path = "../solutions/lesson_01.rs")]
pub mod lesson_01;
#[cfg_attr(feature = "solutions", path = "../solutions/lesson_02.rs")]
pub mod lesson_02;
#[cfg_attr(feature = "solutions", path = "../solutions/lesson_03.rs")]
pub mod lesson_03;

// Read
#[cfg_attr(feature = "solutions", path = "../solutions/lesson_04.rs")]
pub mod lesson_04;
#[cfg_attr(feature = "solutions", path = "../solutions/lesson_05.rs")]
pub mod lesson_05;
#[cfg_attr(feature = "solutions", path = "../solutions/lesson_06.rs")]
pub mod lesson_06;
#[cfg_attr(feature = "solutions", path = "../solutions/lesson_07.rs")]
pub mod lesson_07;

// Run and change
#[cfg_attr(feature = "solutions", path = "../solutions/lesson_08.rs")]
pub mod lesson_08;
#[cfg_attr(feature = "solutions", path = "../solutions/lesson_09.rs")]
pub mod lesson_09;
#[cfg_attr(feature = "solutions", path = "../solutions/lesson_10.rs")]
pub mod lesson_10;

/// The Rust of chapter 2 runs as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../../02-commands-and-decisions.md")]
pub struct ChapterTwo;

/// The Rust of chapter 10 runs as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../../10-changing-events.md")]
pub struct ChapterTen;
