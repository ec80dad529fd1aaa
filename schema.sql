-- The event store: the write side's database, and the source of truth of the whole system.
--
-- The store executes this file once, in one transaction, when it creates a database. The schema, not the
-- program, defends history: these rules hold for every client, the sqlite3 shell included.

-- "TALL": distinguishes an event store from every other SQLite file.
PRAGMA application_id = 0x54414c4c;
-- The version of this schema. The store refuses every other version.
PRAGMA user_version = 1;

-- The log itself, exactly one row: its identity, and the counter of positions. One counter row, raised
-- inside the transaction that appends and locked until the commit, makes positions dense and equal to
-- commit order on any database. (A sequence gives out numbers before the commit, so a reader that remembers
-- the last number would skip an event that commits late.)
CREATE TABLE log (
    only   INTEGER PRIMARY KEY CHECK (only = 1),
    log_id TEXT    NOT NULL,             -- made with the database: another id, another history
    head   INTEGER NOT NULL DEFAULT 0    -- position of the last event, 0 before the first
) STRICT;

-- The events, one row each, in the order of their recording.
CREATE TABLE events (
    position       INTEGER PRIMARY KEY,  -- place in the whole log, from 1, without gaps
    event_id       TEXT    NOT NULL,     -- UUIDv7, the identity of the event itself
    stream_id      TEXT    NOT NULL,     -- UUID of the aggregate that it happened to
    stream_type    TEXT    NOT NULL,     -- kind of aggregate: account
    version        INTEGER NOT NULL,     -- place in its stream, from 1, without gaps
    type           TEXT    NOT NULL,     -- what happened: MoneyDeposited
    schema_version INTEGER NOT NULL,     -- the form that data was written in
    data           TEXT    NOT NULL CHECK (json_valid(data)),
    metadata       TEXT    NOT NULL CHECK (json_valid(metadata)), -- correlation, causation
    recorded_at    TEXT    NOT NULL,     -- RFC 3339, UTC, microseconds; never falls
    hash           BLOB    NOT NULL CHECK (length(hash) = 32),    -- SHA-256 over this and all before
    UNIQUE (stream_id, version)          -- also the index that loads one aggregate
) STRICT;

-- An event is appended at the end of the log and at the end of its stream, or not at all. This trigger
-- refuses positions chosen by a client, and stops INSERT OR REPLACE: SQLite fires no delete trigger for the
-- row that REPLACE removes (unless recursive_triggers is on). ROLLBACK instead of ABORT: a client that
-- overlooks the error cannot commit the rest of its command without the refused event.
CREATE TRIGGER events_are_appended_at_the_end BEFORE INSERT ON events BEGIN
    SELECT CASE
        WHEN NEW.position IS NOT (SELECT head + 1 FROM log)
            THEN RAISE(ROLLBACK, 'events are append-only: position must be head + 1')
        WHEN NEW.version IS NOT
            (SELECT coalesce(max(version), 0) + 1 FROM events WHERE stream_id = NEW.stream_id)
            THEN RAISE(ROLLBACK, 'events are append-only: version must be the next of its stream')
    END;
END;

-- The counter follows every append, in the same transaction.
CREATE TRIGGER the_head_follows_the_events AFTER INSERT ON events BEGIN
    UPDATE log SET head = NEW.position WHERE only = 1;
END;

CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events BEGIN
    SELECT RAISE(ABORT, 'events are append-only: no UPDATE');
END;

CREATE TRIGGER events_are_never_removed BEFORE DELETE ON events BEGIN
    SELECT RAISE(ABORT, 'events are append-only: no DELETE');
END;

-- The counter moves only with an event: one step, to an event that exists.
CREATE TRIGGER the_head_is_where_the_events_end BEFORE UPDATE ON log
WHEN NEW.only IS NOT OLD.only OR NEW.log_id IS NOT OLD.log_id OR NEW.head IS NOT OLD.head + 1
    OR NOT EXISTS (SELECT 1 FROM events WHERE position = NEW.head)
BEGIN
    SELECT RAISE(ROLLBACK, 'the head follows the events and cannot be set');
END;

CREATE TRIGGER the_log_is_never_removed BEFORE DELETE ON log BEGIN
    SELECT RAISE(ABORT, 'the log is append-only: no DELETE');
END;

CREATE TRIGGER there_is_one_log BEFORE INSERT ON log WHEN EXISTS (SELECT 1 FROM log) BEGIN
    SELECT RAISE(ABORT, 'there is one log');
END;

-- The executed commands, by idempotency key, each with its receipt. A row is written in the transaction of
-- the command's events, and kept as long as the events.
CREATE TABLE receipts (
    idempotency_key TEXT    PRIMARY KEY,
    command         BLOB    NOT NULL,    -- SHA-256 of the command: the key must come with the same one
    stream_id       TEXT    NOT NULL,
    version         INTEGER NOT NULL,
    position        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER receipts_are_kept_once BEFORE INSERT ON receipts
WHEN EXISTS (SELECT 1 FROM receipts WHERE idempotency_key = NEW.idempotency_key)
BEGIN
    SELECT RAISE(ROLLBACK, 'receipts are append-only: the key is taken');
END;

CREATE TRIGGER receipts_are_never_changed BEFORE UPDATE ON receipts BEGIN
    SELECT RAISE(ABORT, 'receipts are append-only: no UPDATE');
END;

CREATE TRIGGER receipts_are_never_removed BEFORE DELETE ON receipts BEGIN
    SELECT RAISE(ABORT, 'receipts are append-only: no DELETE');
END;

-- The state of a long stream at some version, from which a replay starts. Disposable: without a row, the
-- replay only takes longer.
CREATE TABLE snapshots (
    stream_id TEXT    PRIMARY KEY,
    version   INTEGER NOT NULL,
    shape     TEXT    NOT NULL,          -- which form of the state it is; of another form, it is ignored
    state     TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
