use tally::es::rusqlite::{self, Connection};
use tally::es::{Names, Projection, ProjectionError, RecordedEvent, decode};

// How often each badge has opened a door.
struct Openings {
    count: String,
}

impl Projection for Openings {
    const NAME: &'static str = "openings";
    const VERSION: u32 = 1;
    const TABLES: &'static [&'static str] = &["openings"];

    // The table has another name while it is rebuilt, so statements are made from `names`.
    fn new(names: &Names) -> Self {
        let table = names.table("openings");
        let count = format!("INSERT INTO {table} VALUES (?1, 1) ON CONFLICT DO UPDATE SET times = times + 1");
        Self { count }
    }

    fn create(db: &Connection, names: &Names) -> rusqlite::Result<()> {
        let table = names.table("openings");
        db.execute_batch(&format!("CREATE TABLE {table} (badge TEXT PRIMARY KEY, times INTEGER) STRICT"))
    }

    fn apply(&mut self, db: &Connection, event: &RecordedEvent<'_>) -> Result<(), ProjectionError> {
        // The log has other kinds, too.
        if event.stream_type != Door::STREAM_TYPE {
            return Ok(());
        }
        match decode(event)? {
            DoorEvent::Opened(opened) => db.prepare_cached(&self.count)?.execute([opened.badge])?,
            DoorEvent::Closed(_) => 0,
        };
        Ok(())
    }
}
