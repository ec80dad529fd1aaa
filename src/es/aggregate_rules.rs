//! The rules that an aggregate's code must keep, checked where a program first uses the aggregate.
//!
//! The compiler checks no constant: an event that is not a JSON object, a name with a comma, or an upcaster for
//! a misspelt event would show only years later, when the event is read.
//!
//! **Invariant:** a refusal names the aggregate or the event that breaks the rule.
//!
//! Read next: `aggregate.rs`, the traits; `command/work.rs`, which stages events.

use crate::es::{Aggregate, DecodeError, Error, Event, schema_version};

/// Writes an event as the JSON object that is recorded.
///
/// # Errors
/// [`Error::InvalidDefinition`] when the event has no proper name or is not a JSON object.
pub(super) fn encode<E: Event>(event: &E) -> Result<String, Error> {
    let event_type = event.event_type();
    check_name("event type", event_type)?;
    let data = event.to_json().map_err(|error| {
        Error::InvalidDefinition(format!("event {event_type:?} cannot be written as JSON: {error}"))
    })?;
    // Of all JSON, only an object begins with a brace; the storage refuses text that is not JSON.
    if data.trim_ascii_start().starts_with('{') {
        return Ok(data);
    }
    let found: String = data.chars().take(40).collect();
    Err(Error::InvalidDefinition(format!(
        "event {event_type:?} must be a JSON object, so that fields can be added later, but is {found}: give its \
         struct named fields, or braces without fields"
    )))
}

/// Checks the name of the kind, and that upcasters lead from form 1 of a known event to the current form.
///
/// # Errors
/// [`Error::InvalidDefinition`].
pub(super) fn check_aggregate<A: Aggregate>() -> Result<(), Error> {
    check_name("stream type", A::STREAM_TYPE)?;
    for upcaster in A::Event::UPCASTERS {
        let (event_type, current) = (upcaster.event_type, schema_version::<A::Event>(upcaster.event_type));
        // A known event refuses these data as malformed, or reads the data: both show that the name is known.
        if let Err(DecodeError::UnknownType) = A::Event::from_json(event_type, "null") {
            return Err(Error::InvalidDefinition(format!(
                "an upcaster of {:?} names the event type {event_type:?}, which the aggregate does not read: \
                 correct the name",
                A::STREAM_TYPE
            )));
        }
        for form in 1..current {
            let steps = A::Event::UPCASTERS.iter().filter(|step| step.event_type == event_type);
            let found = steps.filter(|step| step.from == form).count();
            if found != 1 {
                return Err(Error::InvalidDefinition(format!(
                    "event {event_type:?} of {:?} needs one upcaster from form {form}, and has {found}",
                    A::STREAM_TYPE
                )));
            }
        }
    }
    Ok(())
}

/// Names stand in URLs, in lists with commas, and in SQL: letters, digits, `-`, `_` and `.` need no quotes there.
fn check_name(what: &str, name: &str) -> Result<(), Error> {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !name.is_empty() && name.chars().all(is_plain) {
        return Ok(());
    }
    Err(Error::InvalidDefinition(format!(
        "the {what} {name:?} must be letters, digits, -, _ or .: rename it"
    )))
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::es::testing::Given;
    use crate::es::{Context, EventLog, ExecuteError, Executor, MemoryDatabase, Upcaster};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Bare(u64);

    crate::es::events! {
        #[derive(Debug, PartialEq)]
        enum BareEvent { Happened(Bare) = "BareHappened" }
    }

    #[derive(Clone, Default, Serialize, Deserialize)]
    struct BareState {}

    impl Aggregate for BareState {
        const STREAM_TYPE: &'static str = "bare";
        type Command = u64;
        type Event = BareEvent;
        type Rejection = ();
        fn decide(&self, number: &u64) -> Result<Vec<BareEvent>, ()> {
            Ok((0..*number).map(|number| BareEvent::Happened(Bare(number))).collect())
        }
        fn evolve(self, _: &BareEvent) -> Self {
            self
        }
    }

    #[test]
    fn an_event_that_is_no_json_object_is_refused_before_it_is_recorded() {
        let log = EventLog::open(MemoryDatabase::default()).unwrap();
        let executor = Executor::start(log.clone(), |_| ()).unwrap();
        let run = |number| executor.execute::<BareState>(uuid::Uuid::nil(), number, Context::default());
        let Err(ExecuteError::Failed(Error::InvalidDefinition(what))) = run(2) else { panic!("recorded") };
        assert!(what.contains("\"BareHappened\" must be a JSON object") && what.contains("is 0:"), "{what}");
        // The refused events changed neither the log nor the state in memory.
        assert_eq!((run(0).unwrap().version(), log.head().value()), (0, 0));
    }

    #[test]
    #[should_panic(expected = "\"BareHappened\" must be a JSON object")]
    fn a_given_event_that_is_no_json_object_fails_the_test() {
        drop(Given::<BareState>(vec![BareEvent::Happened(Bare(1))]).when(0));
    }

    #[test]
    #[should_panic(expected = "\"BareHappened\" must be a JSON object")]
    fn a_decided_event_that_is_no_json_object_fails_the_test() {
        drop(Given::<BareState>(vec![]).when(1));
    }

    #[derive(Serialize, Deserialize)]
    struct Sent {}

    /// Declares an aggregate with the given upcasters.
    macro_rules! aggregate {
        ($state:ident, $event:ident, $kind:literal, $upcasters:expr) => {
            crate::es::events! {
                enum $event { Sent(Sent) = "Sent" }
                upcasters: $upcasters
            }
            #[derive(Clone, Default, Serialize, Deserialize)]
            struct $state {}
            impl Aggregate for $state {
                const STREAM_TYPE: &'static str = $kind;
                type Command = ();
                type Event = $event;
                type Rejection = ();
                fn decide(&self, (): &()) -> Result<Vec<$event>, ()> {
                    Ok(vec![$event::Sent(Sent {})])
                }
                fn evolve(self, _: &$event) -> Self {
                    self
                }
            }
        };
    }

    const fn upcaster(event_type: &'static str, from: u32) -> Upcaster {
        Upcaster { event_type, from, upcast: |_| () }
    }

    aggregate!(Whole, WholeEvent, "whole", &[upcaster("Sent", 2), upcaster("Sent", 1)]);
    aggregate!(Gap, GapEvent, "gap", &[upcaster("Sent", 2)]);
    aggregate!(Twice, TwiceEvent, "twice", &[upcaster("Sent", 1), upcaster("Sent", 1)]);
    aggregate!(Misspelt, MisspeltEvent, "misspelt", &[upcaster("Snet", 1)]);
    aggregate!(Unnamed, UnnamedEvent, "", &[]);

    #[test]
    fn upcasters_and_names_that_could_never_work_are_refused_by_name() {
        assert_eq!(check_aggregate::<Whole>(), Ok(()));
        for (checked, what) in [
            (check_aggregate::<Gap>(), "event \"Sent\" of \"gap\" needs one upcaster from form 1, and has 0"),
            (check_aggregate::<Twice>(), "needs one upcaster from form 1, and has 2"),
            (check_aggregate::<Misspelt>(), "names the event type \"Snet\""),
            (check_aggregate::<Unnamed>(), "the stream type \"\" must be"),
        ] {
            assert!(checked.as_ref().is_err_and(|error| error.to_string().contains(what)), "{checked:?}");
        }
    }
}
