//! The `events!` macro: an event enum and its stored names from one list.
//!
//! Without the macro, an event type appears three times: in `event_type`, in `to_json` and in
//! `from_json`, and the three must agree. The macro writes the three functions from one line.
//!
//! Read next: `aggregate.rs`, the trait that the macro implements.

/// Defines an enum of events and implements [`Event`](crate::es::Event) for it.
///
/// Each variant holds a struct with the fields of the event, and names the type under which the
/// event is stored. The struct implements serde's `Serialize` and `Deserialize`, and gives a JSON
/// object: an event without fields is `struct Closed {}`, with braces, so that a later version can add
/// fields. The stored name never changes and appears once; the variant may be renamed.
///
/// ```
/// use serde::{Deserialize, Serialize};
///
/// tally::es::events! {
///     /// What can have happened to a parcel.
///     #[derive(Debug, PartialEq)]
///     pub enum ParcelEvent {
///         Sent(Sent) = "ParcelSent",
///         Delivered(Delivered) = "ParcelDelivered",
///     }
/// }
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// pub struct Sent {
///     grams: u64,
/// }
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// pub struct Delivered {}
///
/// use tally::es::Event;
/// let sent = ParcelEvent::Sent(Sent { grams: 500 });
/// assert_eq!(sent.event_type(), "ParcelSent");
/// assert_eq!(sent.to_json().unwrap(), r#"{"grams":500}"#);
/// assert_eq!(ParcelEvent::from_json("ParcelSent", r#"{"grams":500}"#).unwrap(), sent);
/// ```
///
/// `ParcelEvent::EVENT_TYPES` lists the stored names. Behind the enum, `upcasters: &[…]` sets [`Event::UPCASTERS`](crate::es::Event::UPCASTERS).
#[macro_export]
#[doc(hidden)]
macro_rules! __events {
    (
        $(#[$meta:meta])*
        $visibility:vis enum $name:ident {
            $($(#[$variant_meta:meta])* $variant:ident($fields:ty) = $stored:literal),+ $(,)?
        }
        $(upcasters: $upcasters:expr $(,)?)?
    ) => {
        $(#[$meta])*
        $visibility enum $name {
            $($(#[$variant_meta])* $variant($fields)),+
        }

        impl $name {
            /// The stored names of all events, in the order of the list.
            // A program need not use the list.
            #[allow(dead_code)]
            $visibility const EVENT_TYPES: &'static [&'static str] = &[$($stored),+];
        }

        impl $crate::es::Event for $name {
            $(const UPCASTERS: &'static [$crate::es::Upcaster] = $upcasters;)?

            fn event_type(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $stored),+
                }
            }

            fn to_json(&self) -> $crate::es::serde_json::Result<::std::string::String> {
                match self {
                    $(Self::$variant(fields) => $crate::es::serde_json::to_string(fields)),+
                }
            }

            // Two variants with one stored name: the second could never be read.
            #[deny(unreachable_patterns)]
            fn from_json(event_type: &str, data: &str) -> ::std::result::Result<Self, $crate::es::DecodeError> {
                match event_type {
                    $($stored => $crate::es::serde_json::from_str(data).map(Self::$variant),)+
                    _ => return ::std::result::Result::Err($crate::es::DecodeError::UnknownType),
                }
                .map_err($crate::es::DecodeError::Malformed)
            }
        }
    };
}

#[doc(inline)]
pub use __events as events;
