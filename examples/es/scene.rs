// The scene of an example in the manual: a directory of its own with a log in it.
struct Scene {
    executor: tally::es::Executor,
    log: std::sync::Arc<tally::es::EventLog>,
    directory: Directory,
}

impl Scene {
    fn open() -> Result<Self, tally::es::Error> {
        Self::open_in(Directory::fresh())
    }

    fn open_in(directory: Directory) -> Result<Self, tally::es::Error> {
        let database = tally::es::SqliteDatabase::open(directory.join("log.sqlite3"))?;
        let log = tally::es::EventLog::open(database)?;
        let executor = tally::es::Executor::start(log.clone(), |_commit| ())?;
        Ok(Self { executor, log, directory })
    }
}

// Removed with its content when dropped.
struct Directory(std::path::PathBuf);

impl Directory {
    fn fresh() -> Self {
        let path = std::env::temp_dir().join(format!("tally-manual-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&path).expect("the temporary directory is writable");
        Self(path)
    }

    fn join(&self, name: &str) -> std::path::PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} cannot be removed: {error}", self.0.display());
        }
    }
}
