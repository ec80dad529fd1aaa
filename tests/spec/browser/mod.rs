//! The console in a real browser: each section, with keyboard and screen reader, and when services die.
//!
//! These tests need Debian's chromium and chromium-driver, and fail without them: `just console-test`.

mod access;
mod console;
mod driver;
mod faults;
mod long_log;
mod sections;
