//! A business rule in the fold: the rule changes, and old history cannot be loaded any more.
//!
//! A payment of 800 was allowed when it was made. The limit is lowered to 500, the fold checks every past
//! payment against it, and the purse can be neither read nor used.
//!
//! Seen in aihub-core (bbvch-ai/aihub-core, pull request 1905: a validator added to an event refused an event
//! of the month before at each start, and was moved to the producer). Spine has a system event for aggregates
//! that a changed rule made unloadable (SpineEventEngine/core-jvm, pull request 1199).
//!
//! Here: rules stand in `decide`. `evolve` cannot refuse: its signature has no error
//! (`src/es/aggregate.rs`).

use serde::{Deserialize, Serialize};
use tally::es::{Aggregate, Context, ExecuteError};
use uuid::Uuid;

use super::purse::{Moved, PurseCommand, PurseEvent, cents};
use super::{Pitfall, Result, Scene, Story};

pub(crate) const PITFALL: Pitfall = Pitfall {
    name: "rule-in-fold",
    summary: "the fold checks a rule, the rule changes, and old history cannot be loaded",
    tell: || {
        let (wrong, right) = (mistake(), right_way()?);
        let wrong = wrong.map_or_else(|error| error, |cents| format!("{cents} cents are left"));
        Ok(Story {
            mistake: format!("loading the purse: {wrong}"),
            right_way: format!(
                "{} cents are loaded; paying 501 is refused: {}; after paying 100, {} are left",
                right.loaded, right.refuses, right.left
            ),
        })
    },
};

/// The limit of one payment when the history was made, and now.
const OLD_LIMIT: u64 = 1000;
const NEW_LIMIT: u64 = 500;

/// Loads a purse whose fold knows today's limit.
pub(crate) fn mistake() -> Result<u64, String> {
    let history = [PurseEvent::Filled(Moved { cents: 2000 }), PurseEvent::Spent(Moved { cents: 800 })];
    history.iter().try_fold(0, |cents, event| match event {
        PurseEvent::Filled(moved) => Ok(cents + moved.cents),
        PurseEvent::Spent(moved) if moved.cents > NEW_LIMIT => {
            Err(format!("a payment of {} is over the limit of {NEW_LIMIT}", moved.cents))
        }
        PurseEvent::Spent(moved) => Ok(cents - moved.cents),
    })
}

/// The purse of a build whose limit of one payment is `LIMIT`.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Limited<const LIMIT: u64> {
    cents: u64,
}

#[derive(Debug, PartialEq)]
struct OverLimit;

impl<const LIMIT: u64> Aggregate for Limited<LIMIT> {
    const STREAM_TYPE: &'static str = "purse";
    type Command = PurseCommand;
    type Event = PurseEvent;
    type Rejection = OverLimit;

    fn decide(&self, command: &PurseCommand) -> Result<Vec<PurseEvent>, OverLimit> {
        match *command {
            PurseCommand::Fill(cents) => Ok(vec![PurseEvent::Filled(Moved { cents })]),
            PurseCommand::Spend(cents) if cents > LIMIT.min(self.cents) => Err(OverLimit),
            PurseCommand::Spend(cents) => Ok(vec![PurseEvent::Spent(Moved { cents })]),
        }
    }

    fn evolve(self, event: &PurseEvent) -> Self {
        match event {
            PurseEvent::Filled(moved) => Self { cents: self.cents + moved.cents },
            PurseEvent::Spent(moved) => Self { cents: self.cents - moved.cents },
        }
    }
}

/// What the new build finds, whether it refuses a payment over its limit, and what a payment leaves.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) loaded: u64,
    pub(crate) refuses: bool,
    pub(crate) left: u64,
}

pub(crate) fn right_way() -> Result<Outcome> {
    let Scene { executor, log, directory } = Scene::open()?;
    let purse = Uuid::now_v7();
    for command in [PurseCommand::Fill(2000), PurseCommand::Spend(800)] {
        executor.execute::<Limited<OLD_LIMIT>>(purse, command, Context::default())?;
    }
    drop((executor, log));

    // The new build opens the same log.
    let scene = Scene::open_in(directory)?;
    let pay = |cents| {
        let command = PurseCommand::Spend(cents);
        scene.executor.execute::<Limited<NEW_LIMIT>>(purse, command, Context::default())
    };
    let loaded = cents(&scene.log, purse)?;
    let refuses = pay(501) == Err(ExecuteError::Rejected(OverLimit));
    pay(100)?;
    Ok(Outcome { loaded, refuses, left: cents(&scene.log, purse)? })
}
