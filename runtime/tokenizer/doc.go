// Package tokenizer turns text into the token ids of a T5 or mT5 checkpoint, exactly as the Hugging Face tokenizers
// library does for the same tokenizer.json.
//
// A text passes through five stages, each in a file of its own:
//
//	added tokens    special strings are cut out of the text first (added.go)
//	normaliser      the precompiled character map, then stripping and collapsing of spaces (charsmap.go, normalize.go)
//	pre-tokeniser   white-space splitting and the ▁ word marker (pretokenize.go)
//	model           the Unigram language model's best segmentation, by Viterbi over a double array (unigram.go, trie.go)
//	template        the special tokens around the text, such as </s> (postprocess.go)
//
// Every stage keeps, for each byte it writes, the span of the caller's text that the byte stands for, so that every
// token has byte offsets. [Encoding.Words] merges tokens into white-space words for highlights.
//
// # What it follows
//
// The oracle is tokenizers 0.22.2 reading the same file, as transformers 4.57.6 does; the committed fixtures hold its
// ids, offsets and decodings. transformers 5 ignores the normaliser and pre-tokeniser of a T5 file and builds its own,
// so its ids differ where a text has white space at its ends. A component of a file that is not implemented here is an
// error of [Parse] and never skipped. The truncation and padding that a file may carry are settings of whoever saved
// it: transformers resets both on every call, and here they belong to [Options] and to the batch.
//
// The package needs no tensor library and no cgo. Package sugar adapts it to github.com/sugarme/tokenizer.
package tokenizer

//go:generate go run gen_grapheme.go -o grapheme_table.go -test testdata/grapheme_break_test.txt
