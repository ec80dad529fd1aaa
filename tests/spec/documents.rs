//! Runs the commands in the `console` blocks of a document against real processes, and compares every line of
//! every answer with the document.
//!
//! ```text
//! document.rs    a document: its commands and their answers, and which text an answer may have
//! shell.rs       the words of a command, and as much of curl as the documents use
//! stage.rs       the directory and the processes in which the commands run
//! ```
//!
//! The commands are read here and not by a shell, so that the tests need neither curl nor free default
//! ports. A command that this module does not know fails the test: a command that never ran may be wrong.
//!
//! Read next: `stage.rs`; `../readme.rs` and `../course.rs` say which documents run.

mod document;
mod shell;
mod stage;

pub(crate) use document::Document;
pub(crate) use stage::Stage;
