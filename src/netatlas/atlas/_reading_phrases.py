"""Phrases that hold a query together: negations, prepositions, determiners and what may be dropped."""

from __future__ import annotations

from netatlas.atlas._where_words import word_key, word_keys


def _phrases(words: str) -> dict[str, str]:
    """A table for `phrase` in which only the length of a match counts."""
    return dict.fromkeys(word_keys(words), words)


FILLERS = word_keys(
    "a|an|the|of|with|that|which|is|are|to|in|on|and|or|but|me|i|i'm|find|show|give|want|need|looking|please|some|any|for|"
    "at|by|as|"
    "network|net|model|neural|be|it|its|my|we|you|can|has|have|having|using|use|uses|used|used for|good|list|all|search|weigh|"
    "weighs|weighing|cpu|gpu|i7|trained|expect|expects|accept|accepts|accepting|process|processes|pure|purely|inclusive|"
    "get|what|do|"
    "does|from|than|there|their|these|those|this|most|very|would|like to|should|must|each|per|into|one|ones|also|only|just|like|"
    "similar|similar to|something|anything|style|type|kind|who|how|when|why|where|so|if|too|am|was|were|had|did|could|may|"
    "might|will|about|run|runs|"
    "running|work|works|working|best of|there's|exist|exists|available|recommend|suggest|choose|pick|help|thanks|hello|hi|u|"
    "know|tell|us|our|your|"
    "let|lets|not|no|really|quite|rather|ones|them|they|while|still|both|either|own|able|possible|possibly|please|ideally|"
    "preferably|mainly|mostly"
)
FILLER_PHRASES = _phrases(
    "per image|per picture|per input|per sample|per frame|a lot of|such as|for example|deep learning|neural network|"
    "deep neural network|deep net|deep network|deep learning model"
)
NEGATIONS = _phrases(
    "without|without any|without using|no|not|not a|not an|lacking|excluding|except|except for|other than|free of|does not use|"
    "do not use|doesn't use|don't use|not using|with no|has no|have no|having no|that has no|that have no|neither|instead of|"
    "rather than|does not have|do not have|doesn't have|don't have|not based on|not use|must not have|avoiding|avoid|"
    "any year but|any year except|but no|but not|non|excludes|exclude|anything but|everything but|everything except|outside|"
    "outside of|not containing|does not contain|do not contain|doesn't contain|"
    "don't contain|never uses|never use|without using any|not using any|not have|is not|are not|isn't|aren't|that is not|"
    "avoids|minus|ban|no use of|"
    "not be|not include|does not include|doesn't include|not including|leaving out|omitting|omits|devoid of|skip|skipping"
)
WITH = _phrases(
    "with|with a|with an|with the|using|uses|use|having|has|have|containing|contains|contain|featuring|including|includes|"
    "include|"
    "employing|based on|built on|built from|made of|equipped with|relying on"
)
FOR = _phrases("for|to do|for doing|that does|that do|doing|that can do|suited for|suitable for|designed for|used for|on")
FROM = _phrases("from|in|by|of|from the|in the|inside|available in|provided by|implemented in")
PRETRAINED = _phrases(
    "pretrained|pre trained|checkpoint|pretrained weights|pretrained model|finetuned|fine tuned|pretrained checkpoint"
)
PART_NOUNS = word_keys("motif|activation|layer|block|connection|module|operator|operation|unit|function|mechanism|op|stage")
MODIFIED = word_keys(  # "no attention dropout" is not "no attention"
    "bias|dropout|pooling|mask|head|folding|statistics|map|weight|sharing|matrix|score|sink|distillation|parameter|kernel|"
    "size|fusion"
)
THING_NOUNS = word_keys("model|network|net|backbone|task|problem|system|purpose")
DETERMINERS = word_keys("a|an|the|any|some|either|both|motif|form")
AND, OR = word_keys("and|plus"), word_keys("or|nor")
LOW = word_keys("few|fewer|fewest|low|lower|lowest|little|small|smallest|minimal|least|smaller")
HIGH = word_keys("high|higher|highest|many|large|largest|most|best|better|more")
TOO = word_keys("too|very|so|that")
OTHERS = _phrases("other than|besides|except|except for|but|apart from|aside from")
ONLY = _phrases("only|only use|only uses|only using|uses only|using only|with only|solely|exclusively|just|uses just|just uses")
CONVNETS = _phrases(
    "cnn|convnet|conv net|convolutional network|convolutional neural network|convolutional net|convolutional neural net|"
    "purely convolutional|pure convnet|"
    "pure cnn|purely convolutional network|conv only|convolution only|convolutional only|fully convolutional network|"
    "fully convolutional|all convolutional|only convolution|only conv|"
    "pure convolution|convolutional model|convolutional architecture|convolution network|convolutional backbone|purely conv|"
    "pure conv|conv network|convolution based|convolutional classifier"
)
TRANSFORMERS = _phrases("transformer|transformer network|transformer model|transformer architecture|transformer based")
DEVICES = dict.fromkeys(
    [
        word_key(f"{before} {article} {kind} {device}")
        for before in ("on", "for", "using", "with", "in")
        for article in ("", "a", "an", "the", "my", "one", "any")
        for kind in ("", "laptop", "desktop", "intel", "nvidia", "modern", "single", "fast")
        for device in ("cpu", "gpu", "processor", "i7", "rtx 4090", "4090", "laptop", "graphics card")
    ],
    "device",
)
SPEEDY = word_keys("fast|quick|speedy|fastest|faster|quicker|quickest|low latency|real time|realtime|high")
ALTERNATIVES = _phrases(
    "alternative to|alternatives to|replacement for|replacements for|substitute for|drop in replacement for|instead of using|"
    "to replace|replacing|competitor of|competitors to"
)
