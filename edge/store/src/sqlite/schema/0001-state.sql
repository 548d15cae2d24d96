-- Rows of every kind. `bytes` is null after a deletion; `terms` repeats, as JSON, what stands in
-- the table `terms`, so that a write needs one read; times are milliseconds since 1970.
CREATE TABLE rows (
    kind    TEXT NOT NULL,
    id      TEXT NOT NULL,
    version INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    bytes   BLOB,
    terms   TEXT NOT NULL,
    expires INTEGER,
    UNIQUE (kind, id)
) STRICT;
CREATE INDEX rows_by_seq ON rows (seq, kind);
CREATE INDEX rows_by_end ON rows (expires) WHERE expires IS NOT NULL;
CREATE INDEX rows_dead ON rows (seq) WHERE bytes IS NULL;

-- What rows are found by.
CREATE TABLE terms (
    kind  TEXT NOT NULL,
    term  TEXT NOT NULL,
    value TEXT NOT NULL,
    id    TEXT NOT NULL,
    PRIMARY KEY (kind, term, value, id)
) STRICT, WITHOUT ROWID;

-- Records of commits that wrote rows, until the log has them.
CREATE TABLE outbox (
    n     INTEGER PRIMARY KEY,
    entry BLOB NOT NULL
) STRICT;

INSERT INTO meta (name, value) VALUES ('seq', 0), ('marks', '');
