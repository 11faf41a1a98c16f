"""The sections of the settings: a frozen dataclass for each, whose fields say what they are for.

A setting is one field here; command line, files, documentation and checks follow from it.
"""

from dataclasses import dataclass
from typing import Literal

from tagger.settings import setting, settled


@dataclass(frozen=True)
class TextConfig:
    """From source text to units."""

    unit: Literal["char", "word"] = setting(
        "char", "What gets a tag, a unit: each character, or each word that jieba finds (the method of 2016)."
    )
    clean: bool = setting(
        False,
        "Before segmentation, replace each character outside Han, 0-9, a-z, A-Z, 《》 () （） “” · . by a space, and "
        "keep Latin runs and the inside of 《…》 and of short “…” in one piece (the method of 2016).",
    )
    fold: bool = setting(True, "Look up vectors in lower case and with every digit as 0.")
    simplify: bool = setting(
        True,
        "Look up vectors and words by the simplified form of traditional characters, so that one tagger serves both; "
        "false for corpora that need the difference.",
    )
    maxlen: int = setting(
        256, "Units in the longest window that the network reads; longer texts are cut into windows.", least=2
    )
    overlap: int = setting(
        64, "Units that neighbouring windows share as context when a long text is tagged; 0 for none.", least=0
    )
    words: tuple[str, ...] = setting((), "Words added to the segmenter's dictionary; `--words FILE` appends to them.")


@dataclass(frozen=True)
class VectorsConfig:
    """word2vec tables, learnt from labelled and unlabelled text together."""

    word_dimensions: int = setting(64, "Dimensions of a word's vector.", least=1)
    char_dimensions: int = setting(64, "Dimensions of a character's vector (character units).", least=1)
    bigram_dimensions: int = setting(
        48, "Dimensions of the vector of a bigram, two neighbouring characters (character units).", least=1
    )
    learnt_dimensions: int = setting(
        100,
        "Dimensions at which word vectors are learnt before principal components reduce them to "
        "`vectors.word_dimensions`; 0 for no reduction.",
        least=0,
    )
    window: int = setting(5, "Neighbours on each side that skip-gram predicts from an item.", least=1)
    negative: int = setting(3, "Random items that skip-gram contrasts with each neighbour.", least=1)
    min_count: int = setting(2, "Occurrences that an item needs to get a vector.", least=1)
    sample: float = setting(
        1e-4,
        "Share of the text above which a word is randomly skipped (ten times this for characters and bigrams, which "
        "are fewer); 0 for never.",
        least=0,
    )
    epochs: int | Literal["auto"] = setting(
        "auto",
        "Passes of word2vec over the text; auto for about 70 million items in all, at most 26 passes for words, 10 for "
        "characters and 9 for bigrams.",
        least=1,
    )  # fmt: skip
    learning_rate: float = setting(0.05, "Learning rate that word2vec begins with.", above=0)
    workers: int = setting(1, "Threads of word2vec; results are only repeatable with 1.", least=1)
    norm: float | Literal["auto"] = setting(
        "auto", "Euclidean length that every vector is scaled to; auto for half the square root of its dimensions.",
        above=0,
    )  # fmt: skip
    storage: Literal["float32", "int8"] = setting(
        "int8", "Type of the numbers in the bundle's tables; the network is trained on what is stored."
    )
    pretrained: str = setting(
        "",
        "Ready-made word vectors to use instead of learning them: a file of word2vec (text or binary) or GloVe, .gz "
        "too, or a folder written by `tagger vectors`; empty for none.",
    )
    reuse: bool = setting(
        True,
        "Whether the vectors of an earlier run are reused where few texts differ, with at most a fiftieth of the "
        "characters; otherwise, for strict repeatability, only where the texts are the same, and so are the vectors.",
    )
    limit: int = setting(45_000, "Rows of each table: its most frequent items, within ties; 0 for no limit.", least=0)


@dataclass(frozen=True)
class BatchesConfig:
    """How training texts are grouped."""

    units: int | Literal["auto"] = setting(
        "auto",
        "Units in a batch at most, padding included; 0 for no limit but `batches.texts`; auto for 2,400 on a "
        "processor, and on a graphics card up to 24,000, by the size of the corpus.",
        least=0,
    )
    word_dropout: float = setting(
        0.2,
        "Share of words and bigrams that training replaces by the unknown one, at random, to prepare the network for "
        "unknown words; 0 for none.",
        least=0, below=1,
    )  # fmt: skip
    masking: float = setting(
        0.0,
        "Share of words that training hides completely, characters included, so that the network learns from the "
        "context; 0 for none.",
        least=0, below=1,
    )  # fmt: skip
    texts: int = setting(1024, "Texts in a batch at most.", least=1)
    accumulate: int = setting(
        1, "Batches whose gradients are added up for one update of the weights: large steps in little memory.", least=1
    )


@dataclass(frozen=True)
class ModelConfig:
    """The BiLSTM."""

    layers: tuple[int, ...] = setting((128, 64), "Hidden size of each LSTM layer, per direction.", least=1, empty=False)
    merge: Literal["concat", "sum"] = setting("concat", "How the outputs of the two directions are joined.")
    crf: bool = setting(
        True, "Whether a conditional random field (CRF) scores whole tag paths; otherwise a softmax scores each unit."
    )
    char_dimensions: int = setting(
        48, "Dimensions of a trainable vector for each character, beside the frozen one; 0 for none.", least=0
    )
    position_dimensions: int = setting(
        8, "Dimensions of the trainable vector of a character's position in its word (character units); 0 for none.",
        least=0,
    )  # fmt: skip
    lexicon_dimensions: int = setting(
        12,
        "Dimensions of the trainable vectors of the lexicon words around a character: of their lengths, and of the "
        "part of speech of each of four words (character units); 0 for none.",
        least=0,
    )
    dropout: float = setting(
        0.35,
        "Share of the network's input and of what passes between layers that training sets to zero, the same numbers "
        "at each unit of a text (Gal and Ghahramani, 2016); 0 for none.",
        least=0, below=1,
    )  # fmt: skip
    output_dropout: float = setting(
        0.25,
        "Share of the last layer's output that training sets to zero, in the same way as `model.dropout`; 0 for none.",
        least=0, below=1,
    )  # fmt: skip
    activity_l1: float = setting(
        0.0,
        "L1 penalty on the class probabilities, as in 2016; they sum to one, so that it only shifts the loss shown. "
        "0 for none.",
        least=0,
    )


@dataclass(frozen=True)
class TrainingConfig:
    """How the network is fitted, and on which device."""

    start: Literal["auto", "new", "vectors", "general"] = setting(
        "auto",
        "What a training begins with where no bundle is given: new vectors and a new network; the general tagger's "
        "vectors, with more for the words that they lack; or its network, too (general). auto for what pays, by the "
        "number of labelled characters, their labels and the settings: see `tagger help how-it-works`.",
    )
    epochs: int | Literal["auto"] = setting(
        "auto",
        "Passes over the training texts; auto for about six million units in all, 12 to 24 passes.",
        least=1,
    )
    learning_rate: float | Literal["auto"] = setting(
        "auto", "Highest learning rate of Adam; auto for what suits the size of the batches: see `tagger help cards`.",
        above=0,
    )  # fmt: skip
    schedule: Literal["constant", "cosine"] = setting(
        "cosine",
        "How the learning rate develops: constant, or cosine: it rises over the first twentieth of the steps and then "
        "falls along a cosine.",
    )
    clip_norm: float = setting(
        0.5, "Norm to which larger gradients (of the loss per unit) are scaled down; 0 for no limit.", least=0
    )
    ema_momentum: float | Literal["auto"] = setting(
        "auto",
        "Momentum of the exponential moving average (EMA) of the weights, which is what is evaluated and saved; 0 for "
        "none; auto for what suits the size of the batches.",
        least=0, below=1,
    )  # fmt: skip
    lists: bool = setting(
        True,
        "Whether a labelled text with a list, three or more entities of one label with the same signs between them, is "
        "learnt a second time without these signs: as 张三李四王五, too.",
    )
    metric: Literal["f1", "top1", "contest"] = setting(
        "f1",
        "Score on dev that picks the best epoch, and in `tagger transfer` the best round: entity F1, how often the "
        "most probable entity of a text is correct, or the score of the contest of 2016.",
    )
    patience: int = setting(
        0, "Epochs without a better score on dev after which training stops early; 0 for never.", least=0
    )
    matmul_dtype: Literal["auto", "float32", "bfloat16"] = setting(
        "auto",
        "Type of the LSTMs' matrix products during training; auto for bfloat16 where the processor has instructions "
        "for it (AMX or AVX-512). Weights and all else are float32. Graphics cards multiply in TF32 where they can.",
    )
    seed: int = setting(1, "Seed of initial weights, dropout, batch order and word2vec.", least=0)
    gpu: int | Literal["auto"] = setting(
        "auto",
        "Number of the graphics card to use, from 0; -1 for none; auto for the one with the most free memory, and for "
        "none where there is none.",
        least=-1,
    )
    gpu_memory_growth: bool = setting(
        True, "Whether to take graphics memory as it is needed, instead of all of it at once."
    )
    gpu_memory_mib: int = setting(
        0, "Graphics memory to use at most, in MiB, reserved at once; 0 for no limit.", least=0
    )
    tensorboard: str = setting("", "Folder for TensorBoard logs; empty for none.")

    @property
    def passes(self) -> int:
        """Return `epochs`, which by now must be a number."""
        return settled(self.epochs, "training.epochs")


@dataclass(frozen=True)
class PretrainConfig:
    """How the network learns from text without labels (`tagger pretrain`): it predicts masked words."""

    epochs: int | Literal["auto"] = setting(
        "auto",
        "Passes of pretraining over its texts; auto for about twelve million units in all, 1 to 20 passes.",
        least=1,
    )
    masking: float = setting(0.3, "Share of words that pretraining masks and the network predicts.", above=0, below=1)


@dataclass(frozen=True)
class TransferConfig:
    """Rounds of self-training over unlabelled texts (`tagger transfer`); `--recipe` sets them together."""

    pretrain: bool = setting(
        True,
        "Whether a network is first pretrained on labelled and unlabelled texts (character units), where no other is "
        "given to start from.",
    )
    rounds: int = setting(
        3,
        "Rounds at most; each tags the unlabelled texts and then trains on labelled and predicted texts together.",
        least=1,
    )
    select: Literal["sure", "agreed"] = setting(
        "sure",
        "Which predictions are learnt from: sure, entities and stretches without any of high probability, all else "
        "left open; or agreed, as in 2016, the most probable entity of each text on which all rounds agree.",
    )
    entity_threshold: float = setting(
        0.7, "Probability that a predicted entity needs to be learnt from.", least=0, most=1
    )
    outside_threshold: float = setting(
        0.95, "Probability of lying in no entity that a unit needs to be learnt from as such.", least=0, most=1
    )
    weights: tuple[float, ...] = setting(
        (1.0,),
        "Weight of a predicted text in each round, relative to a labelled one; the last holds for all further rounds.",
        above=0, empty=False,
    )  # fmt: skip
    restart: bool = setting(
        False, "Whether each round starts from the network of round 0, instead of that of the round before."
    )
    epochs: int | Literal["auto"] = setting(
        5, "Passes over labelled and predicted texts in a round; auto for the same as `training.epochs`.", least=1
    )
    masking: float = setting(
        0.3,
        "Share of words masked in a round, whose entities the student must predict from the context; "
        "`batches.masking` holds where it is higher.",
        least=0, below=1,
    )  # fmt: skip
    fine_tune_epochs: int = setting(
        10,
        "Passes over the labelled texts alone at the end of a round, at most; many texts get fewer, about a million "
        "characters in all but at least two passes. 0 for none.",
        least=0,
    )
    fine_tune_rate: float = setting(
        0.002, "Highest learning rate of the passes that `transfer.fine_tune_epochs` counts.", above=0
    )
    patience: int = setting(
        1, "Rounds without a better score on dev after which self-training stops early; 0 for never.", least=0
    )
    characters: int = setting(
        3_000_000,
        "Characters of unlabelled text to use at most, sampled evenly from all there is; 0 for no limit.",
        least=0,
    )


@dataclass(frozen=True)
class DistilConfig:
    """What a student learns from its teachers (`tagger distil`)."""

    teachers: int = setting(3, "Teachers that are trained where none are given, each with a seed of its own.", least=1)
    teacher: str = setting(
        "large,default",
        "Presets, or TOML files, by which these are trained, in turn; those of the sizes of `default` begin with the "
        "general tagger, so that teachers differ in what they know.",
    )
    share: float = setting(
        0.5,
        "Share of the teachers in what is learnt of a labelled text; the rest is its annotation's.",
        least=0,
        most=1,
    )
    temperature: float = setting(
        1.0, "Scores of teachers are divided by it: above 1, what they think less probable counts more.", above=0
    )
    weight: float = setting(1.0, "Weight of a text without labels, relative to a labelled one.", above=0)
    dropout: float = setting(
        0.5,
        "Share that a student of more than the labelled texts keeps of `model.dropout`, `model.output_dropout` and "
        "`batches.word_dropout`: so much text is not learnt by heart. The preset `small` has 0.3.",
        least=0,
        most=1,
    )
    epochs: int | Literal["auto"] = setting(
        "auto",
        "Passes of the student over its texts; auto for the same as `training.epochs`, or, if that is auto too, about "
        "twelve million units in all, 6 to 24 passes.",
        least=1,
    )  # fmt: skip
    characters: int = setting(
        3_000_000,
        "Characters of unlabelled text that teachers tag at most, sampled evenly from all there is; 0 for no limit.",
        least=0,
    )
    exchanged: int = setting(
        600_000,
        "Characters of labelled texts, their entities exchanged for others of their label, that teachers tag beside "
        "the unlabelled ones; each text comes four times at most. 0 for none.",
        least=0,
    )


@dataclass(frozen=True)
class DecodeConfig:
    """From scores to entities."""

    transitions: Literal["model", "contest"] = setting(
        "model",
        "Scores of one tag after another: those of the model (of its CRF; without one, only illegal sequences are "
        "excluded), or the fixed table of 2016.",
    )
    score: Literal["marginal", "mean"] = setting(
        "marginal",
        "Score of an entity: the marginal probability of its whole span, or the mean log-probability of its tags, as "
        "in 2016.",
    )
    spans: Literal["auto", "path"] = setting(
        "auto",
        "Which spans become entities: path, those of the best tag path; auto, those that are probable enough one by "
        "one, where calibration finds on dev that this raises F1.",
    )
    calibrate: bool = setting(
        True,
        "Whether training ends with calibration on dev: of the probabilities, and of when to mark further mentions of "
        "an entity in the same text.",
    )
