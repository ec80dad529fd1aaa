//! The commands: the page of each, and what runs. And the frame: from the arguments to the exit status.
//!
//! **Invariant:** each command has a page with an example, and its name stands in `tally --help`.
//!
//! Read next: `changes.rs`, the plainest commands.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use super::arguments::{Arguments, CommandFlag, CommandPage, WorksOn, flag, hinted};
use super::failure::CommandFailure;
use super::session::Session;
use super::terminal::{Terminal, harmless};
use super::{changes, demo, events, files, load, queries, trace};
use crate::service::config::nearest;
use crate::service::logger::{self, LogFormat, LogOptions};

/// The code of a command.
#[derive(Clone, Copy)]
enum Action {
    /// Speaks with services.
    OfServices(fn(&Session) -> Result<(), CommandFailure>),
    /// Works on a file.
    OfFile(fn(&Arguments) -> Result<(), CommandFailure>),
}
use Action::{OfFile, OfServices};

const ID: CommandFlag = flag("id", "UUID", "The id of the new account. Default: a new UUIDv7.");
const DESCRIPTION: CommandFlag = flag("description", "TEXT", "Kept with the event, up to 500 characters.");
const KEY: CommandFlag = flag(
    "idempotency-key",
    "KEY",
    "The same command with the same key is recorded once. Default: a new key.",
);
const IF_MATCH: CommandFlag =
    flag("if-match", "VERSION", "Only when the account (of a transfer: FROM) is at this version.");
const NO_WAIT: CommandFlag = flag("no-wait", "", "Do not wait for the read side to show the account.");

const AFTER_IT: &str = "Prints where the command was recorded, then the account once the read side shows it.";
const MONEY: &str = "AMOUNT is a whole number of minor units: 1250 are 12.50 EUR. Prints where the command was\n\
                     recorded, then the account once the read side shows it.";

const fn page(
    name: &'static str,
    operands: &'static [&'static str],
    summary: &'static str,
    flags: &'static [CommandFlag],
    details: &'static str,
    example: &'static str,
) -> CommandPage {
    CommandPage { name, summary, operands, place: WorksOn::Services, flags, details, example }
}

const fn at(place: WorksOn, page: CommandPage) -> CommandPage {
    CommandPage { place, ..page }
}

const COMMANDS: &[(CommandPage, Action)] = &[
    (
        page(
            "open",
            &[],
            "Opens an account.",
            &[
                flag("owner", "NAME", "The owner, 1 to 200 characters. Needed."),
                flag("currency", "CODE", "Three capital letters. Default: EUR."),
                ID,
                KEY,
                NO_WAIT,
            ],
            AFTER_IT,
            "tally open --owner Ada",
        ),
        OfServices(changes::open),
    ),
    (
        page(
            "deposit",
            &["ID", "AMOUNT"],
            "Pays money into an account.",
            &[DESCRIPTION, KEY, IF_MATCH, NO_WAIT],
            MONEY,
            "tally deposit 0190a5da-c967-74bb-8ccc-b302099a8057 1250 --description Wages",
        ),
        OfServices(changes::deposit),
    ),
    (
        page(
            "withdraw",
            &["ID", "AMOUNT"],
            "Pays money out of an account.",
            &[DESCRIPTION, KEY, IF_MATCH, NO_WAIT],
            MONEY,
            "tally withdraw 0190a5da-c967-74bb-8ccc-b302099a8057 250",
        ),
        OfServices(changes::withdraw),
    ),
    (
        page(
            "transfer",
            &["FROM", "TO", "AMOUNT"],
            "Moves money from one account to another.",
            &[DESCRIPTION, KEY, IF_MATCH, NO_WAIT],
            MONEY,
            "tally transfer 0190a5da-c967-74bb-8ccc-b302099a8057 0190a5db-0000-7000-8000-000000000001 500",
        ),
        OfServices(changes::transfer),
    ),
    (
        page(
            "close",
            &["ID"],
            "Closes an empty account.",
            &[KEY, IF_MATCH, NO_WAIT],
            AFTER_IT,
            "tally close 0190a5da-c967-74bb-8ccc-b302099a8057",
        ),
        OfServices(changes::close),
    ),
    (
        page(
            "account",
            &["ID"],
            "Shows an account, now or as it was.",
            &[
                flag("at-version", "N", "The account after its Nth event."),
                flag("as-of", "TIME", "The account at a time such as 2026-01-31T12:00:00Z."),
            ],
            "Asks the read side.",
            "tally account 0190a5da-c967-74bb-8ccc-b302099a8057 --at-version 2",
        ),
        OfServices(queries::account),
    ),
    (
        page(
            "accounts",
            &[],
            "Lists all accounts.",
            &[],
            "Asks the read side for page after page; --json prints an account a line.",
            "tally accounts | head",
        ),
        OfServices(queries::accounts),
    ),
    (
        page(
            "events",
            &[],
            "Shows the log, and follows it.",
            &[
                flag(
                    "follow",
                    "",
                    "Go on with each new event until Ctrl-C, also over a restart of the write side.",
                ),
                flag("type", "TYPE", "Events of this type alone, such as MoneyDeposited."),
                flag("stream", "ID", "Events of this account alone."),
                flag("after", "POSITION", "Events after this position alone. Default: 0."),
            ],
            "Prints an event a line, oldest first, up to the end that the log had at the start.",
            "tally events --follow --type MoneyDeposited",
        ),
        OfServices(events::events),
    ),
    (
        page(
            "trace",
            &["CORRELATION|POSITION"],
            "Shows what one request caused.",
            &[],
            "Prints all events of a correlation under the command that caused them, and which projections have them.\n\
         A position means the correlation of the event there.",
            "tally trace 42",
        ),
        OfServices(trace::trace),
    ),
    (
        page(
            "services",
            &[],
            "Lists the live instances of all services.",
            &[],
            "Asks the registry.",
            "tally services",
        ),
        OfServices(queries::services),
    ),
    (
        page(
            "projections",
            &[],
            "Shows how far each projection is.",
            &[],
            "Asks the read side.",
            "tally projections",
        ),
        OfServices(queries::projections),
    ),
    (
        page(
            "load",
            &[],
            "Sends commands at a rate: something to watch.",
            &[
                flag("rate", "N", "Commands a second, 1 to 500. Default: 20."),
                flag("seconds", "S", "For how long, 1 to 3600. Default: 10."),
            ],
            "Opens accounts and moves money. Prints a line a second and a summary; some withdrawals are refused on purpose.",
            "tally load --rate 50 --seconds 30",
        ),
        OfServices(load::load),
    ),
    (
        at(
            WorksOn::Narration,
            page(
                "demo",
                &[],
                "Walks through the running services, explaining each step.",
                &[flag("fast", "", "Do not pause for reading.")],
                "Each step says why, shows the request as a curl line that works, and the answer.",
                "tally demo",
            ),
        ),
        OfServices(demo::demo),
    ),
    (
        at(
            WorksOn::File,
            page(
                "verify",
                &[],
                "Checks the event store.",
                &[],
                "Reads all events with their hashes, also beside a running service. Exit status 1 when a fault was found.",
                "tally verify --data-dir data",
            ),
        ),
        OfFile(files::verify),
    ),
    (
        at(
            WorksOn::File,
            page(
                "backup",
                &["PATH"],
                "Copies the event store to a new file.",
                &[],
                "Works beside a running service, and verifies the copy.",
                "tally backup backup.sqlite3 --data-dir data",
            ),
        ),
        OfFile(files::backup),
    ),
    (
        at(
            WorksOn::File,
            page(
                "export",
                &["[FILE]"],
                "Writes the event store as JSON lines.",
                &[],
                "To stdout without a FILE. Has the events with their hashes and the receipts of idempotency keys.",
                "tally export log.jsonl --data-dir data",
            ),
        ),
        OfFile(files::export),
    ),
    (
        at(
            WorksOn::File,
            page(
                "import",
                &["FILE"],
                "Builds an event store from an export.",
                &[],
                "FILE may be - for stdin. The new log has the same identity, events, receipts and last hash, or the error names\n\
         the line that differs and no file is left. An existing file is never overwritten.",
                "tally import log.jsonl --db restored.sqlite3",
            ),
        ),
        OfFile(files::import),
    ),
];

/// Runs the command that the arguments of the process name. Returns nothing when the first argument is not a
/// command: then the process serves.
pub fn run_command() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let name = arguments.next().filter(|name| !name.as_encoded_bytes().starts_with(b"-"))?;
    let name = name.to_string_lossy().into_owned();
    let known = COMMANDS.iter().find(|(page, _)| page.name == name);
    // A typing mistake must not start the services.
    let Some((page, action)) = known else {
        let hint = nearest(&name, COMMANDS.iter().map(|(page, _)| page.name)).map(str::to_owned);
        let failure = CommandFailure::usage(format!("unknown command {name:?}{}", hinted(hint)));
        return Some(report("tally", false, &failure));
    };
    // The tasks on files log why a signal ended them.
    logger::start(LogOptions { level: log::LevelFilter::Warn, format: LogFormat::Text });
    let arguments: Vec<_> = arguments.collect();
    // Read here too, because a wrong command line has no parsed flags.
    let is_json = arguments.iter().any(|argument| argument == "--json");
    Some(match run(page, *action, arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&format!("tally {name}"), is_json, &failure),
    })
}

fn run(page: &CommandPage, action: Action, arguments: Vec<OsString>) -> Result<(), CommandFailure> {
    let Some(given) = page.read(arguments)? else {
        return Terminal::of_process(false).print(&page.help());
    };
    match action {
        OfServices(run) => run(&Session::of(given)?),
        OfFile(run) => run(&given),
    }
}

/// Prints why a command ended without success, and returns the exit status.
#[cold]
#[inline(never)]
fn report(program: &str, is_json: bool, failure: &CommandFailure) -> ExitCode {
    let text = match failure {
        CommandFailure::Usage(what) => format!("{program}: {}; see {program} --help", harmless(what)),
        CommandFailure::Failed(what) => format!("{program}: {}", harmless(what)),
        CommandFailure::Refused(refusal) => {
            let lines = [&refusal.title, &refusal.detail, &refusal.remedy].map(|line| harmless(line));
            let [title, detail, remedy] = lines;
            if is_json {
                // The problem is the answer; a closed stdout has no reader left.
                drop(Terminal::of_process(true).print_json(&refusal.document));
            }
            format!(
                "{program}: {title} ({} {})\n  {detail}\n  {remedy}",
                refusal.status,
                harmless(&refusal.slug)
            )
        }
        CommandFailure::ClosedPipe => String::new(),
    };
    if !text.is_empty() {
        // A closed stderr has no reader left.
        let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
    }
    ExitCode::from(failure.status())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::config::{AllConfig, Invocation, parse};

    #[test]
    fn every_command_has_a_page_with_an_example_and_a_line_in_the_help_of_the_binary() {
        let help = parse::<AllConfig>(["--help".into()], |_| None).unwrap();
        let Invocation::Print(help) = help else { panic!("the help is a text") };
        for (page, _) in COMMANDS {
            let line = format!("  {:<12}{}\n", page.name, page.summary);
            assert!(help.contains(&line), "{line} is missing in:\n{help}");
            let text = page.help();
            assert!(text.contains(&format!("Example:\n  tally {}", page.name)), "{text}");
            assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
        }
        assert_eq!(help.matches("  tally COMMAND --help").count(), 1);
    }

    #[test]
    fn every_example_is_a_valid_command_line() {
        for (page, _) in COMMANDS {
            let words = page.example.split(" | ").next().unwrap().split(' ').skip(2).map(OsString::from);
            assert!(matches!(page.read(words.collect()), Ok(Some(_))), "{}", page.example);
        }
    }
}
