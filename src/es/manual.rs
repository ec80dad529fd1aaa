//! The embedder's manual: one section for each question that a program around [`es`](super) meets.
//!
//! The tutorial on the [page of `es`](super) grows a program step by step; this page is for looking up. The
//! examples use the aggregates of the tutorial, a door and a badge. Hidden lines open a log in a directory
//! of its own. `examples/embedder.rs` is a whole program.
//!
//! Read next: `src/es/testing.rs`, given, when, then.
//!
//! # Cargo.toml
//!
//! The core is the crate without its default features:
//!
//! ```toml
//! [dependencies]
//! tally = { path = "../tally", default-features = false }
//! # or, pinned to a commit:
//! # tally = { git = "https://example.org/tally.git", rev = "0123abc", default-features = false }
//! serde = { version = "1", features = ["derive"] }
//! uuid = { version = "1", features = ["v7"] }
//! ```
//!
//! The build compiles SQLite, so the build needs a C compiler. Use [`super::rusqlite`] in projections: a program
//! links SQLite once, and Cargo refuses a second version of `rusqlite` beside the first. A `Uuid` is text in tables: bind
//! `event.stream_id.to_string()`, and read a column with `Uuid::parse_str`.
//!
//! # Cross compiling
//!
//! SQLite needs a C compiler *for the target*. The crate `cc` finds the compiler by the name of the target, or
//! in an environment variable:
//!
//! ```console
//! $ apt-get install gcc-aarch64-linux-gnu
//! $ rustup target add aarch64-unknown-linux-gnu
//! $ export CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc
//! $ export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
//! $ cargo build --release --target aarch64-unknown-linux-gnu
//! ```
//!
//! # A small binary
//!
//! Cargo reads `.cargo/config.toml` of the program that is built, not of its dependencies. Copy the flags of this
//! repository's `.cargo/config.toml`: they leave out the parts of SQLite that the core does not use. Then:
//!
//! ```toml
//! [profile.release]
//! opt-level = "s"
//! lto = "fat"
//! codegen-units = 1
//! strip = true
//! ```
//!
//! Keep `panic = "unwind"`: the writer thread catches the panics of commands.
//!
//! # Several kinds of aggregates
//!
//! A log takes any number of kinds. Each kind has a [`STREAM_TYPE`](super::Aggregate::STREAM_TYPE) of its own,
//! and a stream belongs to the kind that began the stream.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/scene.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/door.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/badge.rs"));
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let scene = Scene::open()?;
//! # let executor = &scene.executor;
//! use tally::es::{Context, Error, ExecuteError};
//!
//! let (door, badge) = (uuid::Uuid::now_v7(), uuid::Uuid::now_v7());
//! executor.execute::<Door>(door, DoorCommand::Open { badge: badge.to_string() }, Context::default())?;
//! executor.execute::<Badge>(badge, BadgeCommand::Issue { holder: "Ada".into() }, Context::default())?;
//!
//! let wrong = executor.execute::<Badge>(door, BadgeCommand::Use, Context::default());
//! assert!(matches!(wrong, Err(ExecuteError::Failed(Error::WrongKind { .. }))));
//! # Ok(())
//! # }
//! ```
//!
//! # Transactions
//!
//! [`Executor::transact`](super::Executor::transact) records the events of several streams whole or not at
//! all. The closure runs alone on the writer thread, so a rule may look at every stream that it loads: here, at
//! the version that a client has seen (optimistic concurrency).
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/scene.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/door.rs"));
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let scene = Scene::open()?;
//! # let executor = &scene.executor;
//! use tally::es::{Context, ExecuteError};
//!
//! let door = uuid::Uuid::now_v7();
//! let open_at = |seen: u64| {
//!     executor.transact::<Rejection>(Context::default(), move |work| {
//!         let (_state, actual) = work.load::<Door>(door)?;
//!         if actual != seen {
//!             return Err(ExecuteError::VersionMismatch { stream_id: door, actual });
//!         }
//!         work.decide::<Door>(door, &DoorCommand::Open { badge: "ada".into() })?;
//!         Ok(door)
//!     })
//! };
//! assert_eq!(open_at(0)?.version(), 1);
//! assert_eq!(open_at(0), Err(ExecuteError::VersionMismatch { stream_id: door, actual: 1 }));
//! # Ok(())
//! # }
//! ```
//!
//! # Idempotency keys
//!
//! Under a key, a command is recorded once, however often a client sends the command. The key comes with the
//! command's fingerprint, so another command under the same key is refused. A command that recorded nothing,
//! because a rule rejected the command or because the command decided on no events, leaves its key free.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/scene.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/door.rs"));
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let scene = Scene::open()?;
//! # let executor = &scene.executor;
//! use tally::es::{Context, ExecuteError, Execution, IdempotencyKey};
//!
//! let door = uuid::Uuid::now_v7();
//! let open = |badge: &str| -> Result<Execution, ExecuteError<Rejection>> {
//!     let key = IdempotencyKey::of("request 4711", &("open", door, badge)).expect("text is JSON");
//!     let context = Context { keys: vec![key], ..Context::default() };
//!     executor.execute::<Door>(door, DoorCommand::Open { badge: badge.into() }, context)
//! };
//! let first = open("ada")?;
//! assert_eq!(open("ada")?, Execution::Replayed(*first.receipt().expect("the door was closed")));
//! assert_eq!(open("bob"), Err(ExecuteError::KeyReused { key: "request 4711".into() }));
//! # Ok(())
//! # }
//! ```
//!
//! # An event changes its form
//!
//! Stored events never change. When the fields of an event change, the code reads the current form only, and an
//! [`Upcaster`](super::Upcaster) brings older forms up to date. Here a gauge once measured in inches:
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/scene.rs"));
//! use serde::{Deserialize, Serialize};
//! use tally::es::{Aggregate, Context, Upcaster};
//! use tally::es::serde_json::{Map, Value};
//!
//! #[derive(Serialize, Deserialize)]
//! struct RainMeasured {
//!     millimetres: u64,
//! }
//!
//! tally::es::events! {
//!     enum GaugeEvent {
//!         RainMeasured(RainMeasured) = "RainMeasured",
//!     }
//!     upcasters: &[Upcaster { event_type: "RainMeasured", from: 1, upcast: convert_to_millimetres }]
//! }
//!
//! fn convert_to_millimetres(data: &mut Map<String, Value>) {
//!     if let Some(inches) = data.remove("inches").and_then(|inches| inches.as_f64()) {
//!         data.insert("millimetres".into(), ((inches * 25.4).round() as u64).into());
//!     }
//! }
//! # #[derive(Clone, Default, Serialize, Deserialize)]
//! # struct Gauge { millimetres: u64 }
//! # impl Aggregate for Gauge {
//! #     const STREAM_TYPE: &'static str = "gauge";
//! #     type Command = u64;
//! #     type Event = GaugeEvent;
//! #     type Rejection = ();
//! #     fn decide(&self, millimetres: &u64) -> Result<Vec<GaugeEvent>, ()> {
//! #         Ok(vec![GaugeEvent::RainMeasured(RainMeasured { millimetres: *millimetres })])
//! #     }
//! #     fn evolve(self, GaugeEvent::RainMeasured(rain): &GaugeEvent) -> Self {
//! #         Self { millimetres: self.millimetres + rain.millimetres }
//! #     }
//! # }
//! # mod old {
//! #     use serde::{Deserialize, Serialize};
//! #     #[derive(Serialize, Deserialize)]
//! #     pub struct RainMeasured { pub inches: f64 }
//! #     tally::es::events! { pub enum GaugeEvent { RainMeasured(RainMeasured) = "RainMeasured" } }
//! #     #[derive(Clone, Default, Serialize, Deserialize)]
//! #     pub struct Gauge {}
//! #     impl tally::es::Aggregate for Gauge {
//! #         const STREAM_TYPE: &'static str = "gauge";
//! #         type Command = f64;
//! #         type Event = GaugeEvent;
//! #         type Rejection = ();
//! #         fn decide(&self, inches: &f64) -> Result<Vec<GaugeEvent>, ()> {
//! #             Ok(vec![GaugeEvent::RainMeasured(RainMeasured { inches: *inches })])
//! #         }
//! #         fn evolve(self, _: &GaugeEvent) -> Self { self }
//! #     }
//! # }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//!
//! # let Scene { executor, log, directory } = Scene::open()?;
//! # let garden = uuid::Uuid::now_v7();
//! # executor.execute::<old::Gauge>(garden, 2.0, Context::default())?;
//! # drop((executor, log));
//! # let scene = Scene::open_in(directory)?;
//! # let executor = &scene.executor;
//! // An older build has recorded `{"inches":2.0}`; this build goes on in millimetres.
//! executor.execute::<Gauge>(garden, 9, Context::default())?;
//! let page = scene.log.stream_page(garden, 0, 10)?.expect("the gauge has a history");
//! let events = page.content()?.events;
//! assert_eq!((events[0].schema_version, events[1].schema_version), (1, 2));
//! let total = |sum, event| Ok(Gauge::evolve(sum, &tally::es::decode(event)?));
//! let gauge = events.iter().try_fold(Gauge::default(), total).map_err(|error: tally::es::DecodeError| error)?;
//! assert_eq!(gauge.millimetres, 51 + 9);
//! # Ok(())
//! # }
//! ```
//!
//! Never rename a stored name, and never remove an upcaster: the oldest event needs the whole chain. An older
//! build refuses events of a newer form by name, and reports that the log is not damaged.
//!
//! # Snapshots
//!
//! The executor keeps a snapshot of a stream's state every 32 events, so loading a stream costs the same however
//! long the stream is. Snapshots are disposable: delete any, and only time is lost. A snapshot of another form
//! (other fields, or another [`SNAPSHOT_VERSION`](super::Aggregate::SNAPSHOT_VERSION)) is ignored. Raise the
//! version when `evolve` gives a field another meaning: the field's name and type do not show the change.
//!
//! The state is written whole with each snapshot. Keep in the state what the rules need, and no lists that grow
//! with the history.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/scene.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/door.rs"));
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let scene = Scene::open()?;
//! # let executor = &scene.executor;
//! # use tally::es::{Context, rusqlite::Connection};
//! # let door = uuid::Uuid::now_v7();
//! for _ in 0..20 {
//!     executor.execute::<Door>(door, DoorCommand::Open { badge: "ada".into() }, Context::default())?;
//!     executor.execute::<Door>(door, DoorCommand::Close, Context::default())?;
//! }
//! let shell = Connection::open(scene.directory.join("log.sqlite3"))?;
//! let version: u64 = shell.query_row("SELECT version FROM snapshots", [], |row| row.get(0))?;
//! assert_eq!(version, 32);
//! # Ok(())
//! # }
//! ```
//!
//! # Backup and verify
//!
//! [`backup`](super::backup) copies the log while the program writes, and verifies the copy.
//! [`verify`](super::verify) reads a whole log: positions, versions, the hash chain, snapshots, and the rule of
//! each kind in [`KnownKinds`](super::KnownKinds). A kind or an event of a newer build is counted as unknown, and
//! is not damage.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/scene.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/door.rs"));
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let scene = Scene::open()?;
//! # let (executor, directory) = (&scene.executor, &scene.directory);
//! # use tally::es::Context;
//! # let open = DoorCommand::Open { badge: "ada".into() };
//! # executor.execute::<Door>(uuid::Uuid::now_v7(), open, Context::default())?;
//! use tally::es::{KnownKinds, backup, verify};
//!
//! let doors = KnownKinds::new().and::<Door>(|door, event| match (door, event) {
//!     (Door::Closed, DoorEvent::Opened(_)) | (Door::Open, DoorEvent::Closed(_)) => Ok(()),
//!     (Door::Closed, DoorEvent::Closed(_)) | (Door::Open, DoorEvent::Opened(_)) => Err("twice".into()),
//! });
//! let copy = directory.join("copy.sqlite3");
//! let report = backup(&directory.join("log.sqlite3"), &copy, &doors)?;
//! assert!(report.is_sound() && report.unknown.is_empty());
//! assert_eq!(verify(&copy, &doors)?.last_hash, report.last_hash);
//! # Ok(())
//! # }
//! ```
//!
//! To restore a backup, stop the program, and put the copy in place of the log and its files `-wal` and `-shm`. A
//! read database that has seen more than the copy refuses the older log: delete the read database, which is
//! then built anew.
//!
//! # Verify a projection
//!
//! [`verify_projection`](super::verify_projection) replays a projection into a scratch database, and compares
//! every row with the live rows. The projector may go on meanwhile.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/scene.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/door.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/openings.rs"));
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let scene = Scene::open()?;
//! # let (executor, log, directory) = (&scene.executor, &scene.log, &scene.directory);
//! # use tally::es::{Context, Definition, Projector};
//! # let open = DoorCommand::Open { badge: "ada".into() };
//! # executor.execute::<Door>(uuid::Uuid::now_v7(), open, Context::default())?;
//! # let rows = directory.join("openings.sqlite3");
//! # Projector::open(&rows, &[Definition::of::<Openings>()])?.catch_up(&mut log.clone(), 1)?;
//! use tally::es::verify_projection;
//!
//! let (openings, scratch) = (Definition::of::<Openings>(), directory.join("scratch.sqlite3"));
//! let verified = verify_projection(&rows, &scratch, &openings, &mut log.clone())?;
//! assert_eq!((verified.rows, verified.difference), (1, None));
//! # Ok(())
//! # }
//! ```
//!
//! # Stopping
//!
//! Drop the projector, the executor and the log: each drop finishes its work and joins its threads. A projector
//! waits for a page in flight, but no longer than a second. To stop earlier, [`Executor::stop`](super::Executor::stop) answers the queued commands and rejects further ones;
//! [`RunningProjector::stop`](super::RunningProjector::stop) ends after the open transaction. Neither loses
//! anything: a killed process needs no repair either.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/scene.rs"));
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/door.rs"));
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let scene = Scene::open()?;
//! # let executor = &scene.executor;
//! use tally::es::{Context, Error, ExecuteError};
//!
//! executor.stop();
//! let late = executor.execute::<Door>(uuid::Uuid::now_v7(), DoorCommand::Close, Context::default());
//! assert_eq!(late, Err(ExecuteError::Failed(Error::Stopped)));
//! # Ok(())
//! # }
//! ```
//!
//! # Threads and files
//!
//! | value | threads | files |
//! | --- | --- | --- |
//! | [`EventLog`](super::EventLog) | none of its own; readers use the caller's thread | the log, `-wal`, `-shm` |
//! | [`Executor`](super::Executor) | `writer`; one more that flushes the WAL | `-lock`: one writer for each log |
//! | [`RunningProjector`](super::RunningProjector) | `projector`, and two that fetch pages | the read database, `-wal`, `-shm` |
//!
//! The directory must be on a local disk and writable: SQLite creates `-wal` (committed events that are not in
//! the log file yet) and `-shm` (shared memory) beside each database. A copy of the log file alone lacks the
//! events of `-wal`; use [`backup`](super::backup). When the program has dropped everything, each database is one
//! file again.
//!
//! The write-ahead log stays below 64 MiB, except beside a reader that stays. A device with small flash sets a lower ceiling with
//! [`SqliteDatabase::with_wal_limit`](super::SqliteDatabase::with_wal_limit). With
//! [`SqliteDatabase::keep_lock_file`](super::SqliteDatabase::keep_lock_file), a log that vanished between two runs is
//! reported as lost.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/scene.rs"));
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let scene = Scene::open()?;
//! # let Scene { executor, log, directory } = scene;
//! let is_there = |suffix: &str| directory.join(&format!("log.sqlite3{suffix}")).exists();
//! assert!(["", "-wal", "-shm", "-lock"].into_iter().all(is_there));
//! drop((executor, log));
//! assert!(is_there("") && !["-wal", "-shm", "-lock"].into_iter().any(is_there));
//! # Ok(())
//! # }
//! ```
//!
//! # The clock goes back
//!
//! Positions order events, and times never fall along the log: after the clock was set back, events keep the time
//! of the last event until the clock has caught up. [`EventLog::ahead_of_clock`](super::EventLog::ahead_of_clock)
//! returns how far the log is ahead of the clock. More than a moment means that the clock is, or was, wrong.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/scene.rs"));
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let scene = Scene::open()?;
//! assert_eq!(scene.log.ahead_of_clock(), std::time::Duration::ZERO);
//! # Ok(())
//! # }
//! ```
//!
//! # Testing
//!
//! [`testing`](super::testing) has "given, when, then" for aggregates and for projections. Neither a file nor a
//! thread is needed, and a failure shows the difference line by line. Events and rejections derive `Debug` and
//! `PartialEq` for the comparison, the structs of an event too. For tests of a whole program,
//! [`MemoryDatabase::default()`](super::MemoryDatabase) is a log without a file.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/badge.rs"));
//! # use serde::{Deserialize, Serialize};
//! # use tally::es::Aggregate;
//! # fn main() {
//! use tally::es::testing::Given;
//!
//! let issued = || BadgeEvent::Issued(Issued { holder: "Ada".into() });
//! Given::<Badge>(vec![issued()]).when(BadgeCommand::Use).then(vec![BadgeEvent::Used(Used {})]);
//! Given::<Badge>(vec![issued(), BadgeEvent::Revoked(Revoked {})])
//!     .when(BadgeCommand::Use)
//!     .then_rejected(NotValid);
//! # }
//! ```
