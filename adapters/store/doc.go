// Package store keeps what must survive: adapters, their versions, which version is
// active, the files as blobs by digest, and a log of every change. It is SQL, the same
// statements on SQLite, in the data folder, and on PostgreSQL, which several servers
// share.
//
// A change is durable before it is answered. It is whole or not there: blobs, rows,
// events and activation are one transaction. All changes of a database happen one
// after the other, so that an event's sequence is the order in which changes become
// visible, and who follows the events misses none.
//
// Statements are written once. Parameters are $1, $2, ..., which PostgreSQL numbers,
// and SQLite takes as names that its driver numbers. Types are TEXT, BIGINT, BOOLEAN
// and BYTEA; SQLite gives the last no meaning and keeps the bytes as they are. Times
// are microseconds since 1970. Texts are ordered in Go: what SQL makes of it depends on
// the database's locale.
package store
