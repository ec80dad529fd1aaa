//! The flags that there are, a row each; `config.rs` says which binary takes which.

use super::flags::{Flag, Kind};

pub(super) const fn listen(default: &'static str) -> Flag {
    Flag {
        name: "listen",
        kind: Kind::One("HOST:PORT"),
        default,
        help: "Where to listen. Port 0 takes a free one; an IPv6 address stands in brackets.",
    }
}
pub(super) const fn db(default: &'static str) -> Flag {
    Flag {
        name: "db",
        kind: Kind::One("PATH"),
        default,
        help: "The SQLite file; it and its folder are made when absent.",
    }
}
pub(super) const ADVERTISE: Flag = Flag {
    name: "advertise",
    kind: Kind::One("HOST[:PORT]"),
    default: "where it listens; loopback when that is 0.0.0.0 or [::]",
    help: "The address that other services are given, when it is not where this one listens.",
};
pub(super) const REGISTRY: Flag = Flag {
    name: "registry",
    kind: Kind::Several("URL"),
    default: "http://127.0.0.1:7000",
    help: "A service registry, http://HOST:PORT. Register with each, ask each in turn.",
};
pub(super) const WRITE_SIDE: Flag = Flag {
    name: "write-side",
    kind: Kind::One("URL"),
    default: "the one that the registries name",
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
    help: "How long an instance lives without a heartbeat, 0.05 to 86400 seconds.",
};
pub(super) const ADVISED_HEARTBEAT_INTERVAL: Flag = Flag {
    name: "heartbeat-interval",
    kind: Kind::One("SECONDS"),
    default: "a third of the TTL",
    help: "How often instances are told to send a heartbeat, 0.01 to 3600 seconds, below the TTL.",
};
pub(super) const POLL_INTERVAL: Flag = Flag {
    name: "poll-interval",
    kind: Kind::One("SECONDS"),
    default: "5",
    help: "Longest pause between two looks at the event feed, 0.01 to 30 seconds; an event ends it sooner.",
};
pub(super) const EVENT_STORE: Flag = Flag {
    name: "event-store",
    kind: Kind::One("URL"),
    default: "sqlite: and the path of --db",
    help: "Where events are kept: sqlite:PATH.",
};
pub(super) const HTTP_ENGINE: Flag = Flag {
    name: "http-engine",
    kind: Kind::One("ENGINE"),
    default: "blocking",
    help: "The HTTP engine: blocking, or tiny_http where it is built in.",
};
pub(super) const ALLOW_ORIGIN: Flag = Flag {
    name: "allow-origin",
    kind: Kind::Several("ORIGIN"),
    default: "loopback origins only",
    help: "Let pages of this origin (https://example.org, or * for all) call the service.",
};
pub(super) const ALLOW_HOST: Flag = Flag {
    name: "allow-host",
    kind: Kind::Several("NAME"),
    default: "addresses, localhost, and the names of --listen and --advertise",
    help: "Answer requests to this host name (or * for all), too; others get 421.",
};
pub(super) const LOG: Flag = Flag {
    name: "log",
    kind: Kind::One("LEVEL"),
    default: "info",
    help: "The least important log lines to show on stderr: error, warn, info or debug.",
};
pub(super) const VERIFY: Flag = Flag {
    name: "verify",
    kind: Kind::Action,
    default: "",
    help: "Instead of serving: check the database, print what was found, exit 0, or 1 when it is wrong.",
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
    help: "How many events a service that is ready may be behind the end of the log, 0 to 9007199254740991.",
};
