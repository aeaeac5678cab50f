// Package safetensors reads and writes the safetensors format: eight bytes of
// header length, a JSON header that names each tensor's element type, shape and
// place, then the tensors' bytes without gaps, little-endian and in row-major
// order. A file on disk is mapped into memory, not read.
//
// What a file says of itself is checked before it is believed: every tensor must
// lie inside the file, be as long as its shape asks, and together they must cover
// the data exactly once, as the format's reference implementation demands.
package safetensors
