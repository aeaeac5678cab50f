// Package peft reads and writes IA3 adapters in the folders that PEFT's
// save_pretrained writes: adapter_config.json says which projections of the model
// are scaled, adapter_model.safetensors or an older adapter_model.bin holds one
// vector for each of them, and a valence.json beside them may say what the adapter
// is for.
//
// Which projections an adapter scales follows PEFT 0.18.0 on the models of
// transformers 4.57.6, odd corners included; what PEFT would only warn of, such as
// a vector that is missing or unknown, is an error here. PEFT loads what is written.
package peft
