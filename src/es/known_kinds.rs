//! The kinds of aggregates that a build knows, for an audit of a log: how each replays, and what each
//! calls lawful.
//!
//! A log may hold kinds, event types and forms that this build does not know, because a newer build
//! or another program wrote them. That is no damage, and an audit says so in those words.
//!
//! Read next: `verify.rs`, the audit.

use serde_json::Value;

use crate::es::command::stream_state::shape_of;
use crate::es::{Aggregate, DecodeError, RecordedEvent, decode};

/// The kinds that a build knows.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/es/door.rs"));
/// # fn main() {
/// use tally::es::KnownKinds;
/// // A door's history has no rules beyond those of its events.
/// let kinds = KnownKinds::new().and::<Door>(|_, _| Ok(()));
/// # drop(kinds);
/// # }
/// ```
#[derive(Default)]
pub struct KnownKinds {
    all: Vec<KnownKind>,
}

struct KnownKind {
    stream_type: &'static str,
    /// The form of the state, by which snapshots of another form are passed over.
    shape: String,
    begin: Box<dyn Fn() -> Box<dyn Replay>>,
    decodes: fn(&RecordedEvent<'_>) -> Result<(), DecodeError>,
}

/// A stream that is being replayed, without its type.
pub(super) trait Replay {
    /// Takes the next event.
    fn take(&mut self, event: &RecordedEvent<'_>) -> Taken;

    /// The state as a snapshot would keep it; none once an event was not understood.
    fn state(&self) -> Option<Value>;
}

/// What a replay makes of an event.
pub(super) enum Taken {
    Lawful,
    /// The event cannot have happened in this state, for that reason.
    Unlawful(String),
    /// The event cannot be read.
    NotRead(DecodeError),
}

struct Stream<A: Aggregate> {
    /// None from an event on that is not understood: what follows cannot be judged.
    state: Option<A>,
    lawful: fn(&A, &A::Event) -> Result<(), String>,
}

impl<A: Aggregate> Replay for Stream<A> {
    fn take(&mut self, event: &RecordedEvent<'_>) -> Taken {
        let decoded = match decode::<A::Event>(event) {
            Ok(decoded) => decoded,
            Err(error) => {
                self.state = None;
                return Taken::NotRead(error);
            }
        };
        let Some(state) = self.state.take() else {
            return Taken::Lawful;
        };
        let verdict = (self.lawful)(&state, &decoded);
        self.state = Some(state.evolve(&decoded));
        verdict.map_or_else(Taken::Unlawful, |()| Taken::Lawful)
    }

    fn state(&self) -> Option<Value> {
        serde_json::to_value(self.state.as_ref()?).ok()
    }
}

impl KnownKinds {
    /// No kind.
    pub fn new() -> Self {
        Self::default()
    }

    /// These kinds and `A`. `lawful` says whether an event can have happened in a state, and if not,
    /// why.
    #[must_use]
    pub fn and<A: Aggregate>(mut self, lawful: fn(&A, &A::Event) -> Result<(), String>) -> Self {
        self.all.push(KnownKind {
            stream_type: A::STREAM_TYPE,
            shape: shape_of::<A>(),
            begin: Box::new(move || Box::new(Stream::<A> { state: Some(A::default()), lawful })),
            decodes: |event| decode::<A::Event>(event).map(drop),
        });
        self
    }

    /// A stream of that type before its first event; none for a kind that is not known.
    pub(super) fn begin(&self, stream_type: &str) -> Option<Box<dyn Replay>> {
        self.kind(stream_type).map(|kind| (kind.begin)())
    }

    /// The form of a kind's state.
    pub(super) fn shape(&self, stream_type: &str) -> Option<&str> {
        self.kind(stream_type).map(|kind| &*kind.shape)
    }

    /// Names what a newer build or another program wrote: the kind, the type or the form of an event that
    /// this build does not know. None for an event that this build reads, and for one that is damaged.
    pub fn unknown(&self, event: &RecordedEvent<'_>) -> Option<String> {
        let RecordedEvent { stream_type, event_type, .. } = event;
        let Some(kind) = self.kind(stream_type) else {
            return Some(format!("the kind {stream_type:?}"));
        };
        match (kind.decodes)(event) {
            Err(error) => unknown(event, &error),
            Ok(()) => None,
        }
        .map(|what| format!("{what} ({event_type:?} of {stream_type:?})"))
    }

    fn kind(&self, stream_type: &str) -> Option<&KnownKind> {
        self.all.iter().find(|kind| kind.stream_type == stream_type)
    }
}

/// Whether an event that cannot be read is merely unknown to this build, and in what way.
pub(super) fn unknown(event: &RecordedEvent<'_>, error: &DecodeError) -> Option<String> {
    match error {
        DecodeError::UnknownType => Some("an event type".to_owned()),
        DecodeError::NewerSchema { .. } => Some(format!("form {} of an event", event.schema_version)),
        DecodeError::NoUpcaster { .. } | DecodeError::Malformed(_) => None,
    }
}

impl std::fmt::Debug for KnownKinds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.all.iter().map(|kind| kind.stream_type)).finish()
    }
}
