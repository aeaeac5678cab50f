// Package pickle reads the tensors in a file that torch.save wrote, such as
// PEFT's adapter_model.bin, without running any code.
//
// A pickle is a program for a stack machine, and Python's reader lets it call
// whatever it names. The machine here knows dicts, lists, tuples, strings,
// integers, booleans and None; it can build an OrderedDict, and a tensor over a
// storage of floats. Every other name is an error when it is met, as with
// torch.load(weights_only=True), of whose allowed names these are a small part.
//
// What a file says of itself is checked before it is believed, and what it takes
// in memory is bounded: a pickle by its length, which bounds its steps since no
// operation jumps back; the machine's stack and memo; and the tensors together by
// the size of the file.
package pickle
