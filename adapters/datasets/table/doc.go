// Package table reads files of rows: CSV, TSV, JSON objects by line or in an array,
// and Parquet. It streams, and holds one row at a time, whatever the file's size.
//
// What is wrong with one row is that Record's Err, and the rows after it are read; an
// error of Next or Open means that the file as a whole cannot be read.
package table
