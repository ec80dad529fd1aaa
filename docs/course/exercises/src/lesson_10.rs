//! Lesson 10: an event in its third form.
//!
//! The log of a bank has `CardPaid` events of four years:
//!
//! | form | years | data | meaning |
//! | --- | --- | --- | --- |
//! | 1 | 2023 | `{"euros":12}` | whole euros |
//! | 2 | 2024, 2025 | `{"cents":1250}` | cents, for the bank knew no other currency |
//! | 3 | 2026 | `{"amount":1250,"currency":"CHF"}` | hundredths of a currency |
//!
//! The step from form 1 to form 2 is an upcaster. For form 3 the fields were renamed, with defaults to load old events.
//!
//! Read next: `docs/course/10-changing-events.md`, the chapter.

use serde::{Deserialize, Serialize};
use tally::es::serde_json::{Map, Value};
use tally::es::{Upcaster, events};

/// A card was used to pay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardPaid {
    /// How much, in hundredths of the currency.
    #[serde(default)]
    pub amount: u64,
    /// Three capital letters.
    #[serde(default = "euro")]
    pub currency: String,
    /// Where. Older events do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shop: Option<String>,
}

events! {
    /// The events of a card.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum CardEvent {
        /// The card was used to pay.
        CardPaid(CardPaid) = "CardPaid",
    }
    upcasters: &[Upcaster { event_type: "CardPaid", from: 1, upcast: count_in_cents }]
}

/// From form 1 to form 2.
fn count_in_cents(data: &mut Map<String, Value>) {
    if let Some(euros) = data.remove("euros").and_then(|euros| euros.as_u64()) {
        data.insert("cents".into(), (euros * 100).into());
    }
}

fn euro() -> String {
    "EUR".into()
}
