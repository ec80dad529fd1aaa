//! Flags, exit statuses, and what goes to stdout and stderr.

use crate::support::{Binary, Directory, Launch};

fn launch(binary: Binary) -> (Directory, Launch) {
    let directory = Directory::fresh();
    let launch = Launch::of(binary, &directory);
    (directory, launch)
}

#[test]
fn version_and_help_go_to_stdout_with_status_0() {
    for binary in Binary::ALL {
        let (_directory, launch) = launch(binary);
        let version = launch.clone().argument("--version").run();
        assert_eq!(version.status.code(), Some(0));
        assert_eq!(version.stdout, [format!("{} {}", binary.name(), env!("CARGO_PKG_VERSION"))]);
        let help = launch.argument("--help").run();
        assert_eq!((help.status.code(), help.stderr.as_str()), (Some(0), ""));
        assert!(help.stdout.iter().any(|line| line.contains("TALLY_HTTP_ENGINE")), "{help:?}");
    }
}

#[test]
fn a_wrong_command_line_is_one_line_on_stderr_and_status_2() {
    for binary in Binary::ALL {
        for arguments in
            [&["--bogus"][..], &["serve"], &["--log", "loud"], &["--log"], &["--allow-origin", "\n"]]
        {
            let (_directory, launch) = launch(binary);
            let ended = arguments.iter().fold(launch, Launch::argument).run();
            assert_eq!((ended.status.code(), ended.stdout.len()), (Some(2), 0), "{arguments:?}: {ended:?}");
            assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
            assert!(ended.stderr.starts_with(binary.name()), "{ended:?}");
        }
    }
}

#[test]
fn a_wrong_variable_is_refused_by_its_name() {
    for binary in Binary::ALL {
        let (_directory, launch) = launch(binary);
        let ended = launch.variable("TALLY_LOG", "loud").run();
        assert_eq!(ended.status.code(), Some(2));
        assert!(ended.stderr.contains("TALLY_LOG"), "{ended:?}");
    }
}
