"""Reads the model cards of this folder as the Hugging Face Hub does.

    python check_card.py        # needs huggingface_hub
"""

import pathlib

from huggingface_hub import ModelCard

here = pathlib.Path(__file__).parent

card = ModelCard((here / "card.md").read_text()).data
assert card.base_model == "bigscience/mt0-large", card.base_model
assert card.library_name == "peft" and card.pipeline_tag == "text-classification" and card.tags == ["ia3", "valence"]
assert card.model_name == "alice/reviews", card.model_name
assert [(r.metric_type, r.metric_name, r.metric_value) for r in card.eval_results] == [
    ("accuracy", "accuracy", 0.9375),
    ("f1", "by language en f1", 0.5),
], card.eval_results

bare = ModelCard((here / "card-nameless.md").read_text()).data
assert bare.base_model is None and bare.eval_results is None
print("both cards are read")
