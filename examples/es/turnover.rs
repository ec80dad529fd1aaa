use tally::es::rusqlite::{self, Connection};
use tally::es::{Names, Projection, ProjectionError, RecordedEvent, decode};

// How much went through each purse, which no purse remembers.
struct Turnover {
    add: String,
}

impl Projection for Turnover {
    const NAME: &'static str = "turnover";
    const VERSION: u32 = 1;
    const TABLES: &'static [&'static str] = &["turnover"];

    fn new(names: &Names) -> Self {
        let table = names.table("turnover");
        let add = format!("INSERT INTO {table} VALUES (?1, ?2) ON CONFLICT DO UPDATE SET cents = cents + ?2");
        Self { add }
    }

    fn create(db: &Connection, names: &Names) -> rusqlite::Result<()> {
        let table = names.table("turnover");
        db.execute_batch(&format!("CREATE TABLE {table} (purse TEXT PRIMARY KEY, cents INTEGER) STRICT"))
    }

    fn apply(&mut self, db: &Connection, event: &RecordedEvent<'_>) -> Result<(), ProjectionError> {
        let (PurseEvent::PaidIn(Cents { cents }) | PurseEvent::PaidOut(Cents { cents })) = decode(event)?;
        db.prepare_cached(&self.add)?.execute((event.stream_id.to_string(), cents))?;
        Ok(())
    }
}
