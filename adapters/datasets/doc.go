// Package datasets takes in labelled texts: it reads them from files in which people
// have them, says what is wrong with which row and what is odd about the whole, and
// keeps files and feedback in the store for training.
//
// A data set is a file as it was sent, and the Mapping that says how its columns and
// values become texts and labels. Its id is the digest of both.
package datasets
