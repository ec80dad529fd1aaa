//! A retry without an idempotency key: the answer was lost, the client asks again, and pays twice.
//!
//! A client without an answer cannot know whether its command was executed. Without a retry, a command may be
//! lost; with a retry, it may be executed twice. A key that is the same at each attempt tells a second attempt
//! from a second order.
//!
//! Seen in Akash Console (akash-network/console, pull request 3449: customers were charged two or three times
//! for one purchase, because a slow charge was retried without a key).
//!
//! Here: the client's key and a fingerprint of the command are recorded in the transaction of the events
//! (`src/es/command/context.rs`, table `receipts` of `schema.sql`). The second attempt gets the first receipt.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use tally::es::{Context, ExecuteError, Execution, Executor, IdempotencyKey};
use uuid::Uuid;

use super::purse::{Purse, PurseCommand, TooLittle, cents};
use super::{Pitfall, Result, Scene, Story};

pub(crate) const PITFALL: Pitfall = Pitfall {
    name: "retry-without-key",
    summary: "an answer is lost, the client sends the command again, and pays twice",
    tell: || {
        let (wrong, right) = (mistake()?, right_way()?);
        Ok(Story {
            mistake: format!("of 100 cents, an order of 40 leaves {wrong}"),
            right_way: format!("of 100 cents, an order of 40 leaves {right}"),
        })
    },
};

type Answer = Result<Execution, ExecuteError<TooLittle>>;

/// Returns how many of 100 cents are left after one order of 40.
pub(crate) fn mistake() -> Result<u64> {
    order(&Context::default())
}

/// As [`mistake`].
pub(crate) fn right_way() -> Result<u64> {
    let key = IdempotencyKey::of("order 4711", &PurseCommand::Spend(40))?;
    order(&Context { keys: vec![key], ..Context::default() })
}

/// Orders once, on a line that loses the first answer.
fn order(context: &Context) -> Result<u64> {
    let scene = Scene::open()?;
    let purse = Uuid::now_v7();
    scene.executor.execute::<Purse>(purse, PurseCommand::Fill(100), Context::default())?;
    thread::scope(|scope| {
        let (requests, inbox) = sync_channel(2);
        scope.spawn(|| serve(&scene.executor, purse, inbox));
        let send = || {
            let (answer, receiver) = sync_channel(1);
            requests.send((context.clone(), answer)).map(|()| receiver)
        };
        // The client has waited long enough and hangs up. The command is on its way.
        drop(send()?);
        let retried: Receiver<Answer> = send()?;
        retried.recv()??;
        cents(&scene.log, purse)
    })
}

/// Executes the orders in turn, for clients that may be gone by then.
fn serve(executor: &Executor, purse: Uuid, inbox: Receiver<(Context, SyncSender<Answer>)>) {
    for (context, client) in inbox {
        let answer = executor.execute::<Purse>(purse, PurseCommand::Spend(40), context);
        drop(client.send(answer));
    }
}
