"""The tables of the collector's one SQLite file, as numbered steps from an empty file to the present."""

import sqlite3

STEPS = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

    CREATE TABLE paths (id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL UNIQUE, added_at_ms INTEGER NOT NULL);

    CREATE TABLE seen_calls (jti TEXT PRIMARY KEY, expires_at INTEGER NOT NULL) WITHOUT ROWID;

    -- Append only. The unique key is the one that tells a repeated delivery from a second event.
    CREATE TABLE observations (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        stream TEXT NOT NULL, at_ms INTEGER NOT NULL,
        source TEXT NOT NULL, editor TEXT NOT NULL, entity TEXT NOT NULL, kind TEXT NOT NULL,
        time_ms INTEGER NOT NULL, end_ms INTEGER, received_ms INTEGER NOT NULL, is_write INTEGER NOT NULL,
        entity_type TEXT NOT NULL, machine TEXT NOT NULL, platform TEXT, language TEXT, project TEXT, project_path TEXT,
        branch TEXT, category TEXT, timezone TEXT,
        lines INTEGER, lines_added INTEGER, lines_deleted INTEGER,
        ai_lines INTEGER, ai_input_tokens INTEGER, ai_output_tokens INTEGER, ai_session TEXT,
        UNIQUE (entity, time_ms, source, machine, kind, is_write)
    );
    CREATE INDEX observations_by_stream ON observations (stream, at_ms, seq);
    CREATE INDEX observations_by_entity ON observations (entity, at_ms);
    CREATE INDEX observations_by_source ON observations (source, at_ms);

    -- `rev` and `changed_at_ms` come from `change_clock`, both grow with every change, in commit order.
    CREATE TABLE sessions (
        id TEXT PRIMARY KEY, rev INTEGER NOT NULL UNIQUE, changed_at_ms INTEGER NOT NULL UNIQUE,
        revision INTEGER NOT NULL, stream TEXT NOT NULL,
        first_ms INTEGER NOT NULL, first_seq INTEGER NOT NULL, last_ms INTEGER NOT NULL,
        is_active INTEGER NOT NULL, deleted INTEGER NOT NULL, superseded_by TEXT, body TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX sessions_by_stream ON sessions (stream, first_ms, first_seq) WHERE deleted = 0;
    CREATE INDEX sessions_by_last ON sessions (last_ms) WHERE deleted = 0;
    CREATE INDEX sessions_active ON sessions (last_ms) WHERE is_active = 1;
    CREATE TABLE change_clock (
        id INTEGER PRIMARY KEY CHECK (id = 1), rev INTEGER NOT NULL, changed_at_ms INTEGER NOT NULL
    );
    INSERT INTO change_clock VALUES (1, 0, 0);

    -- What the file system scan saw last, by watched path and directory.
    CREATE TABLE manifest (
        path_id INTEGER NOT NULL, folder TEXT NOT NULL, name TEXT NOT NULL,
        size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
        PRIMARY KEY (path_id, folder, name)
    ) WITHOUT ROWID;
    CREATE TABLE scans (path_id INTEGER PRIMARY KEY, finished_ms INTEGER NOT NULL);
    """,
    """
    -- The sessionStartTime in the body, so that days are counted without reading a body. Kept by triggers: a daemon
    -- that was started before the upgrade goes on writing rows, and knows nothing of it.
    ALTER TABLE sessions ADD COLUMN start_ms INTEGER NOT NULL DEFAULT 0;
    CREATE TRIGGER sessions_changed AFTER UPDATE OF body ON sessions BEGIN
        UPDATE sessions SET start_ms =
            CAST(strftime('%s', substr(json_extract(new.body, '$.sessionStartTime'), 1, 19)) AS INTEGER) * 1000
            + CAST(substr(json_extract(new.body, '$.sessionStartTime'), 21, 3) AS INTEGER)
        WHERE id = new.id;
    END;
    CREATE TRIGGER sessions_added AFTER INSERT ON sessions BEGIN
        UPDATE sessions SET body = body WHERE id = new.id;
    END;
    UPDATE sessions SET body = body;
    CREATE INDEX sessions_by_start ON sessions (start_ms, rev, changed_at_ms, deleted);

    -- Half-open spans in which the daemon ran: disjoint, none empty.
    CREATE TABLE runs (started_ms INTEGER PRIMARY KEY, ended_ms INTEGER NOT NULL CHECK (ended_ms > started_ms));

    -- A random number of each change: what tells it from the one of the same number and time in another history.
    ALTER TABLE sessions ADD COLUMN mark INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE change_clock ADD COLUMN mark INTEGER NOT NULL DEFAULT 0;

    -- The changes up to which readers were told they have read. A restored backup lacks those of its lost future.
    CREATE TABLE told_positions (rev INTEGER PRIMARY KEY, mark INTEGER NOT NULL);
    """,
)


def upgrade(connection: sqlite3.Connection) -> None:
    """Runs the steps that this file has not seen, each in a transaction of its own with its number."""
    for number, step in enumerate(STEPS, start=1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            if connection.execute("PRAGMA user_version").fetchone()[0] < number:
                for statement in split_statements(step):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise


def split_statements(script: str) -> list[str]:
    """The statements of a script. `executescript` will not do: it commits the transaction that guards the step."""
    statements, pending = [], ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    return statements
