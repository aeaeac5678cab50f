// Package mt5 runs T5 and mT5 models with IA3 adapters, each row of a batch with
// its own vectors. It reads like the papers and names things as the checkpoints
// do.
//
// Sources: Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a
// Unified Text-to-Text Transformer"; Xue et al. 2021, "mT5: A Massively
// Multilingual Pre-trained Text-to-Text Transformer"; Liu et al. 2022 for IA3.
//
// In the shapes of comments B is rows, T encoder tokens, N decoder sequences, L
// decoder tokens, D d_model, H heads, K d_kv.
package mt5
