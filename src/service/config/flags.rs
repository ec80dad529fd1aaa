//! The flags, one row each. The configuration of each binary lists its flags.
//!
//! **Invariant:** the help text of a flag names the unit and the range of its value.
//!
//! Read next: `config/flag_parser.rs`, the columns.

use super::flag_parser::{Flag, Kind};

pub(super) const fn listen(default: &'static str) -> Flag {
    Flag {
        name: "listen",
        kind: Kind::One("HOST:PORT"),
        default,
        help: "The address to listen on. Port 0 selects a free port; an IPv6 address stands in brackets.",
    }
}
pub(super) const fn db(default: &'static str) -> Flag {
    Flag {
        name: "db",
        kind: Kind::One("PATH"),
        default,
        help: "The SQLite file; the file and its folder are made when absent.",
    }
}
pub(super) const ADVERTISE: Flag = Flag {
    name: "advertise",
    kind: Kind::One("HOST[:PORT]"),
    default: "the listening address; loopback for 0.0.0.0 and [::]",
    help: "The address to register, when clients reach the service elsewhere than it listens.",
};
pub(super) const REGISTRY: Flag = Flag {
    name: "registry",
    kind: Kind::Several("URL"),
    default: "http://127.0.0.1:7000",
    help: "A service registry, http://HOST:PORT. The service registers with each and asks each in turn.",
};
pub(super) const WRITE_SIDE: Flag = Flag {
    name: "write-side",
    kind: Kind::One("URL"),
    default: "the write side that the registries name",
    help: "The write side to follow, http://HOST:PORT, whatever the registries name.",
};
pub(super) const ALLOW_COPY: Flag = Flag {
    name: "allow-copy",
    kind: Kind::Switch,
    default: "no",
    help: "Register also while another write service serves a copy of the same log.",
};
pub(super) const HEARTBEAT_INTERVAL: Flag = Flag {
    name: "heartbeat-interval",
    kind: Kind::One("SECONDS"),
    default: "2",
    help: "Pause between two heartbeats, 0.01 to 3600 seconds.",
};
pub(super) const TTL: Flag = Flag {
    name: "ttl",
    kind: Kind::One("SECONDS"),
    default: "6",
    help: "Lifetime of an instance without a heartbeat, 0.05 to 86400 seconds.",
};
pub(super) const ADVISED_HEARTBEAT_INTERVAL: Flag = Flag {
    name: "heartbeat-interval",
    kind: Kind::One("SECONDS"),
    default: "a third of the TTL",
    help: "Heartbeat interval that instances are advised, 0.01 to 3600 seconds, below the TTL.",
};
pub(super) const POLL_INTERVAL: Flag = Flag {
    name: "poll-interval",
    kind: Kind::One("SECONDS"),
    default: "5",
    help: "Longest wait for an answer of the event feed, 0.01 to 30 seconds; an event ends the wait.",
};
pub(super) const EVENT_STORE: Flag = Flag {
    name: "event-store",
    kind: Kind::One("URL"),
    default: "sqlite: and the path of --db",
    help: "The event store: sqlite:PATH.",
};
pub(super) const HTTP_ENGINE: Flag = Flag {
    name: "http-engine",
    kind: Kind::One("ENGINE"),
    default: "blocking",
    help: "The HTTP engine: blocking, or tiny_http if built in.",
};
pub(super) const ALLOW_ORIGIN: Flag = Flag {
    name: "allow-origin",
    kind: Kind::Several("ORIGIN"),
    default: "loopback origins only",
    help: "Let web pages of this origin (https://example.org, or * for all) call the service.",
};
pub(super) const ALLOW_HOST: Flag = Flag {
    name: "allow-host",
    kind: Kind::Several("NAME"),
    default: "addresses, localhost, and the names to listen on and to advertise",
    help: "Answer requests to this host name (or * for all) as well; other names get 421.",
};
pub(super) const LOG: Flag = Flag {
    name: "log",
    kind: Kind::One("LEVEL"),
    default: "info",
    help: "Lowest level of log lines on stderr: error, warn, info or debug.",
};
pub(super) const LOG_FORMAT: Flag = Flag {
    name: "log-format",
    kind: Kind::One("FORMAT"),
    default: "text",
    help: "Form of log lines: text for people, or json, one object a line.",
};
pub(super) const VERIFY: Flag = Flag {
    name: "verify",
    kind: Kind::Action,
    default: "",
    help: "Instead of serving: check the database, print a report, exit 0, or 1 when it is wrong.",
};
pub(super) const BACKUP: Flag = Flag {
    name: "backup",
    kind: Kind::ActionOn("PATH"),
    default: "",
    help: "Instead of serving: copy the database to a new file while it may be in use.",
};
pub(super) const REBUILD: Flag = Flag {
    name: "rebuild",
    kind: Kind::Action,
    default: "",
    help: "Rebuild the read models from the first event, beside the rows that answer meanwhile.",
};
pub(super) const READY_LAG: Flag = Flag {
    name: "ready-lag",
    kind: Kind::One("EVENTS"),
    default: "10000",
    help: "Largest lag of a ready service behind the end of the log, in events, 0 to 9007199254740991.",
};
