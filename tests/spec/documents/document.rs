//! A document: its commands and their answers, and which text an answer may have.

/// Stands for any text in a line, and alone in a line for any number of lines.
const ANYTHING: &str = "…";

/// The commands of a document, in order.
pub(crate) struct Document {
    pub(crate) steps: Vec<Step>,
}

/// A command of a `console` block.
pub(crate) struct Step {
    /// `README.md:27`.
    pub(crate) place: String,
    pub(crate) command: String,
    /// The lines below the command.
    pub(super) answer: Vec<String>,
}

impl Document {
    /// Reads a document, whose path is relative to the repository.
    pub(crate) fn read(path: &str) -> Self {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        Self { steps: steps(path, &text) }
    }
}

fn steps(path: &str, text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_console = false;
    for (index, line) in text.lines().enumerate() {
        let place = format!("{path}:{}", index + 1);
        if let Some(language) = line.strip_prefix("```") {
            is_console = language == "console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| is_console) {
            steps.push(Step { place, command: command.to_owned(), answer: Vec::new() });
        } else if is_console {
            let step = steps.last_mut().unwrap_or_else(|| panic!("{place}: a block begins with a command"));
            step.answer.push(line.to_owned());
        }
    }
    steps
}

/// Returns whether lines are as they are written.
pub(super) fn matches(written: &[String], lines: &[String]) -> bool {
    match written.split_first() {
        None => lines.is_empty(),
        Some((any, rest)) if any == ANYTHING => {
            (0..=lines.len()).any(|skipped| matches(rest, &lines[skipped..]))
        }
        Some((first, rest)) => {
            lines.split_first().is_some_and(|(line, lines)| line_matches(first, line) && matches(rest, lines))
        }
    }
}

fn line_matches(written: &str, line: &str) -> bool {
    match written.split_once(ANYTHING) {
        None => written == line,
        Some((start, rest)) => line.strip_prefix(start).is_some_and(|line| {
            line.char_indices()
                .map(|(at, _)| at)
                .chain([line.len()])
                .any(|at| line_matches(rest, &line[at..]))
        }),
    }
}

#[test]
fn an_answer_that_differs_is_noticed() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let answer = lines("HTTP/1.1 200 OK\nDate: today\n\n{\"a\":1,\"b\":2}");
    for written in ["…", "HTTP/1.1 200 OK\n…\n{\"a\":1,…}", "HTTP/1.1 …\nDate: …\n\n{…\"b\":2}"] {
        assert!(matches(&lines(written), &answer), "{written}");
    }
    for written in ["", "HTTP/1.1 200 OK", "HTTP/1.1 200 OK\n…\n{\"a\":2,…}", "…\n{…\"b\":2", "…\nx"]
    {
        assert!(!matches(&lines(written), &answer), "{written}");
    }
}
