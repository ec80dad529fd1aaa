//! The kinds of aggregates that a build knows, for an audit of a log: how each kind replays, and which events
//! each kind calls lawful.
//!
//! A newer build or another program may have written kinds, event types and forms that this build does not
//! know. Unknown events are not damaged, and an audit reports them apart from faults.
//!
//! Read next: `audit/log.rs`, the audit.

use serde_json::Value;

use crate::es::command::stream_state::shape_of;
use crate::es::{Aggregate, DecodeError, Error, RecordedEvent, decode};

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
    /// The form of the state, by which snapshots of another form are ignored.
    shape: String,
    begin: Box<dyn Fn() -> Box<dyn StreamReplay>>,
    decodes: fn(&RecordedEvent<'_>) -> Result<(), DecodeError>,
}

/// The replay of a stream, without the type of the aggregate.
pub(super) trait StreamReplay {
    /// Applies the next event to the state, and judges the event.
    fn apply(&mut self, event: &RecordedEvent<'_>) -> Verdict;

    /// Returns the state as a snapshot would keep it; None after an unreadable event.
    fn state(&self) -> Option<Value>;
}

/// The judgement of a replay on an event.
pub(super) enum Verdict {
    Lawful,
    /// The event cannot have happened in this state; the text says why.
    Unlawful(String),
    Unreadable(DecodeError),
}

struct TypedReplay<A: Aggregate> {
    /// None after an unreadable event: the state, and so the law of later events, is unknown.
    state: Option<A>,
    lawful: fn(&A, &A::Event) -> Result<(), String>,
}

impl<A: Aggregate> StreamReplay for TypedReplay<A> {
    fn apply(&mut self, event: &RecordedEvent<'_>) -> Verdict {
        let decoded = match decode::<A::Event>(event) {
            Ok(decoded) => decoded,
            Err(error) => {
                // Without this event, no later event of the stream can be judged.
                self.state = None;
                return Verdict::Unreadable(error);
            }
        };
        let Some(state) = self.state.take() else {
            // An earlier event was unreadable, and is a finding already.
            return Verdict::Lawful;
        };
        // An unlawful event is applied all the same: the event is recorded, and later events build on it.
        let verdict = (self.lawful)(&state, &decoded);
        self.state = Some(state.evolve(&decoded));
        verdict.map_or_else(Verdict::Unlawful, |()| Verdict::Lawful)
    }

    fn state(&self) -> Option<Value> {
        serde_json::to_value(self.state.as_ref()?).ok()
    }
}

impl KnownKinds {
    /// Begins with no kind.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the kind `A`. `lawful` fails, with the reason, for an event that cannot have happened in a state.
    #[must_use]
    pub fn and<A: Aggregate>(mut self, lawful: fn(&A, &A::Event) -> Result<(), String>) -> Self {
        self.all.push(KnownKind {
            stream_type: A::STREAM_TYPE,
            shape: shape_of::<A>(),
            begin: Box::new(move || Box::new(TypedReplay::<A> { state: Some(A::default()), lawful })),
            decodes: |event| decode::<A::Event>(event).map(drop),
        });
        self
    }

    /// Checks that each kind was added once: with two of one stream type, the audit would judge by the first.
    ///
    /// # Errors
    /// [`Error::InvalidDefinition`], which names the kind.
    pub(super) fn check(&self) -> Result<(), Error> {
        let mut names: Vec<_> = self.all.iter().map(|kind| kind.stream_type).collect();
        names.sort_unstable();
        // Sorted, two equal names are neighbours.
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(Error::InvalidDefinition(format!(
                "the kind {:?} was added twice to the known kinds: add each stream type once",
                pair[0]
            ))),
            None => Ok(()),
        }
    }

    /// Begins the replay of a stream; None for an unknown kind.
    pub(super) fn begin(&self, stream_type: &str) -> Option<Box<dyn StreamReplay>> {
        self.kind(stream_type).map(|kind| (kind.begin)())
    }

    /// Returns the form of a kind's state.
    pub(super) fn shape(&self, stream_type: &str) -> Option<&str> {
        self.kind(stream_type).map(|kind| &*kind.shape)
    }

    /// Names the kind, the type or the form of an event of a newer build or another program. None for an
    /// event that this build reads, and for a damaged event.
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

/// Names the unknown part of an unreadable event; None for a damaged event.
pub(super) fn unknown(event: &RecordedEvent<'_>, error: &DecodeError) -> Option<String> {
    match error {
        DecodeError::UnknownType => Some("an event type".to_owned()),
        DecodeError::NewerSchema { .. } => Some(format!("form {} of an event", event.schema_version)),
        // This build knows the type, so the event is damaged or the build lacks an upcaster.
        DecodeError::NoUpcaster { .. } | DecodeError::Malformed(_) => None,
    }
}

impl std::fmt::Debug for KnownKinds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.all.iter().map(|kind| kind.stream_type)).finish()
    }
}
