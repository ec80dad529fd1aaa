use tally::es::{Context, ExecuteError, Execution, Executor};
use uuid::Uuid;

// The rejections of both kinds as one type.
#[derive(Debug, PartialEq)]
enum Refused {
    Badge(NotValid),
    Door(Rejection),
}

// Opens a door with a badge. Both histories get their event, or neither.
fn enter(workshop: &Executor, badge: Uuid, door: Uuid) -> Result<Execution, ExecuteError<Refused>> {
    workshop.transact(Context::default(), move |work| {
        let used = work.decide::<Badge>(badge, &BadgeCommand::Use);
        used.map_err(|error| error.map_rejection(Refused::Badge))?;
        let open = DoorCommand::Open { badge: badge.to_string() };
        work.decide::<Door>(door, &open).map_err(|error| error.map_rejection(Refused::Door))?;
        Ok(door)
    })
}
