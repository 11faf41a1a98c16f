import dataclasses
import math
import re
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger.config import Config, check, load, sections, to_toml
from tagger.errors import ConfigError
from tagger.presets import PRESETS, RECIPES
from tagger.serve.limits import Limits
from tagger.settings import describe, merge, unless_auto
from tests.samples import few


def value(config, name):
    section, key = name.split(".")
    return getattr(getattr(config, section), key)


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "own.toml"
        path.write_text(content, "utf-8")
        return path

    return write


# ---- presets ----------------------------------------------------------------------------------------------------


def test_the_default_preset_is_the_defaults():
    assert load() == load("default") == check(Config())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("text.unit", "word"),
        ("text.clean", True),
        ("text.fold", False),
        ("text.maxlen", 80),
        ("vectors.word_dimensions", 128),
        ("vectors.window", 8),
        ("vectors.negative", 8),
        ("vectors.min_count", 1),
        ("vectors.epochs", 20),
        ("vectors.norm", 1.0),
        ("vectors.limit", 0),
        ("vectors.storage", "float32"),
        ("batches.units", 0),
        ("model.layers", (64, 32)),
        ("model.merge", "sum"),
        ("model.crf", False),
        ("model.char_dimensions", 0),
        ("model.dropout", 0.0),
        ("model.output_dropout", 0.0),
        ("model.activity_l1", 0.01),
        ("training.epochs", 200),
        ("training.schedule", "constant"),
        ("training.patience", 0),
        ("training.ema_momentum", 0.0),
        ("decode.transitions", "contest"),
        ("decode.score", "mean"),
    ],
)
def test_the_contest_preset_is_the_entry_of_2016(name, expected):
    assert value(load("contest"), name) == expected


def test_a_step_of_the_contest_preset_is_1024_texts():
    batches = load("contest").batches
    assert batches.texts * batches.accumulate == 1024


# ---- files and overrides ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training.epochs=60", 60),
        ("transfer.epochs=auto", "auto"),
        (" training.epochs = 60", 60),
        ("training.learning_rate=1", 1.0),
        ("model.crf=false", False),
        ("model.layers=[32]", (32,)),
        ("model.merge=sum", "sum"),
        ('model.merge="sum"', "sum"),
        ("vectors.pretrained=own vectors/a=b.txt", "own vectors/a=b.txt"),
        ('text.words=["云计算", "石墨烯"]', ("云计算", "石墨烯")),
    ],
)
def test_an_override_sets_one_value(override, expected):
    config = load("default", [override])
    name = override.split("=")[0].strip()
    assert value(config, name) == expected
    assert type(value(config, name)) is type(expected)
    assert sum(value(config, f"{s}.{k}") != v for s, section in as_tuples(Config()) for k, v in section) == 1


def as_tuples(config):
    return [(name, list(dataclasses.asdict(section).items())) for name, section in vars(config).items()]


def test_overrides_go_over_the_file_and_the_file_over_its_preset(write):
    path = write('preset = "contest"\n[text]\nmaxlen = 60\noverlap = 10\n[training]\nepochs = 5\n')
    config = load(path, ["training.epochs=6", "training.epochs=7"])
    assert (config.text.maxlen, config.training.epochs) == (60, 7)
    assert config == load("contest", ["text.maxlen=60", "text.overlap=10", "training.epochs=7"])


def test_a_file_without_a_preset_starts_from_the_defaults(write):
    assert load(write("")) == Config()
    assert load(str(write("[model]\ncrf = false\n"))) == load("default", ["model.crf=false"])


@pytest.mark.parametrize("preset", list(PRESETS))
def test_settings_survive_toml(write, preset):
    config = load(preset, ['text.words=["云\\"计\\n算"]'])
    assert merge(Config(), tomllib.loads(to_toml(config)), "config.toml") == config
    assert load(write(to_toml(config))) == config


@few
@given(st.floats(1e-9, 1e9), st.lists(st.text(), max_size=3), st.integers(2, 10**9))
def test_any_value_survives_toml(rate, words, maxlen):
    config = merge(Config(), {"training": {"learning_rate": rate}, "text": {"words": words, "maxlen": maxlen}}, "")
    assert merge(Config(), tomllib.loads(to_toml(config)), "config.toml") == config


# ---- what is rejected ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["[" * 2000, "9" * 5000, "0x" + "f" * 5000, "18446744073709551616", "'\n'"])
def test_what_is_very_long_or_deep_or_not_printable_is_reported_in_one_line(write, value):
    with pytest.raises(
        ConfigError, match=r"^--set training\.epochs=.*(must be an integer or auto; received)"
    ) as caught:
        load("default", [f"training.epochs={value}"])
    assert len(str(caught.value)) < 300
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(ConfigError, match=r"(not a readable TOML file|must be an integer or auto)") as caught:
        load(write(f"[training]\nepochs = {value}"))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epoch=3", "training.epoch does not exist; did you mean 'epochs'?"),
        ("trainings.epochs=3", "section [trainings] does not exist; did you mean 'training'?"),
        ("text.zzz=3", "text.zzz does not exist; there are: unit, clean, fold, simplify, maxlen, overlap, words"),
        ("text.words.more=3", "text.words.more does not exist"),
        ("epochs=3", "expected section.key=value, such as training.epochs=60"),
        ("training.epochs", "expected section.key=value, such as training.epochs=60"),
        ("training.epochs=", "training.epochs must be an integer or auto; received ''"),
        ("training.epochs=many", "training.epochs must be an integer or auto; received 'many'"),
        ("training.epochs=1.0", "training.epochs must be an integer or auto; received 1.0"),
        ("training.epochs=true", "training.epochs must be an integer or auto; received True"),
        ("training.learning_rate=true", "training.learning_rate must be a number or auto; received True"),
        ("training.learning_rate=fast", "training.learning_rate must be a number or auto; received 'fast'"),
        ("model.crf=1", "model.crf must be true or false; received 1"),
        ("model.layers=64", "model.layers must be a list of integers; received 64"),
        ('model.layers=[64, "32"]', "model.layers must be a list of integers; received [64, '32']"),
        ("model.merge=add", "model.merge must be one of concat, sum; received 'add'"),
        ("text.unit=[]", "text.unit must be one of char, word; received []"),
        ("vectors.pretrained=5", "vectors.pretrained must be a string; received 5"),
    ],
)
def test_a_wrong_override_is_reported(override, message):
    with pytest.raises(ConfigError) as caught:
        load("default", [override])
    assert str(caught.value).startswith(f"--set {override}: {message}")


def test_a_byte_order_mark_is_dropped_and_utf_16_is_named(tmp_path):
    path = tmp_path / "own.toml"
    for encoding in ("utf-8", "utf-8-sig"):
        path.write_bytes('[text]\nunit = "word"\n'.encode(encoding))
        assert load(path).text.unit == "word"
    path.write_bytes("[text]\n".encode("utf-16"))
    with pytest.raises(ConfigError, match=r"own\.toml: expected UTF-8, received UTF-16; save it as UTF-8"):
        load(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[training]\nepoch = 3", "training.epoch does not exist; did you mean 'epochs'?"),
        ("[txt]\nmaxlen = 3", "section [txt] does not exist; did you mean 'text'?"),
        ("text = 3", "[text] is a section, received 3"),
        ("maxlen = 3", "section [maxlen] does not exist"),
        ('preset = "contst"', "preset = 'contst' does not exist; did you mean 'contest'?"),
        ("preset = 5", "preset = 5 does not exist"),
        ('preset = ["contest"]', "preset = ['contest'] does not exist"),
        ("preset = {}", "preset = {} does not exist"),
        ("text = [", "not a readable TOML file"),
    ],
)
def test_a_wrong_file_is_reported(write, content, message):
    path = write(content)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_an_unreadable_file_is_reported(tmp_path):
    (tmp_path / "gbk.toml").write_bytes("# 中文".encode("gbk"))
    for source, message in [
        ("contst", "contst: neither a file nor a preset; did you mean 'contest'? (presets: default, small, "),
        (tmp_path / "none.toml", f"{tmp_path / 'none.toml'}: neither a file nor a preset"),
        (tmp_path, f"{tmp_path}: not a readable TOML file"),
        (tmp_path / "gbk.toml", f"{tmp_path / 'gbk.toml'}: not a readable TOML file"),
    ]:
        with pytest.raises(ConfigError) as caught:
            load(source)
        assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("text.maxlen", [256, 10_000], [1, 0, -1]),
        ("text.overlap", [0, 64], [-1, 65]),
        ("vectors.word_dimensions", [1], [0, -1]),
        ("vectors.char_dimensions", [1], [0]),
        ("vectors.bigram_dimensions", [1], [0]),
        ("vectors.window", [1], [0]),
        ("vectors.min_count", [1], [0]),
        ("vectors.negative", [1], [0, -1]),
        ("vectors.limit", [0], [-1]),
        ("vectors.norm", ["auto", 1, 0.5], [0, -1, math.inf]),
        ("model.char_dimensions", [0], [-1]),
        ("model.position_dimensions", [0], [-1]),
        ("training.clip_norm", [0], [-1]),
        ("training.patience", [0], [-1]),
        ("training.gpu", ["auto", -1, 0], [-2]),
        ("training.gpu_memory_mib", [0], [-1]),
        ("vectors.epochs", ["auto", 1], [0, -1]),
        ("vectors.workers", [1, 8], [0]),
        ("batches.units", ["auto", 0, 1], [-1]),
        ("batches.texts", [1], [0]),
        ("batches.accumulate", [1, 8], [0]),
        ("model.layers", [[1], [9, 8, 7]], [[], [0], [64, -1]]),
        ("model.dropout", [0, 0.99], [-0.1, 1, math.nan]),
        ("model.output_dropout", [0, 0.99], [-0.1, 1]),
        ("training.ema_momentum", ["auto", 0, 0.99], [-0.1, 1]),
        ("training.epochs", ["auto", 1], [0, -1]),
        ("batches.word_dropout", [0, 0.99], [-0.1, 1]),
        ("batches.masking", [0, 0.99], [-0.1, 1]),
        ("transfer.masking", [0, 0.99], [-0.1, 1]),
        ("pretrain.epochs", ["auto", 1], [0, -1]),
        ("pretrain.masking", [0.01, 0.99], [0, 1]),
        ("transfer.epochs", ["auto", 1], [0, -1]),
        ("transfer.rounds", [1], [0]),
        ("transfer.entity_threshold", [0, 1], [-0.1, 1.1]),
        ("transfer.outside_threshold", [0, 1], [-0.1, 1.1]),
        ("transfer.weights", [[0.1, 2]], [[], [0], [1, -1], [math.inf]]),
        ("transfer.fine_tune_epochs", [0, 1], [-1]),
        ("transfer.fine_tune_rate", [1e-9], [0, math.inf]),
        ("transfer.patience", [0], [-1]),
        ("transfer.characters", [0], [-1]),
        ("vectors.learnt_dimensions", [0, 300], [-1]),
        ("model.lexicon_dimensions", [0], [-1]),
        ("training.learning_rate", [1e-9], [0, -1.0, math.nan, math.inf]),
        ("decode.transitions", ["model"], ["contest"]),
    ],
)
def test_settings_that_do_not_fit_are_reported(name, good, bad):
    section, key = name.split(".")
    for value in good:
        check(merge(Config(), {section: {key: value}}, "test"))
    for value in bad:
        with pytest.raises(ConfigError, match=name.replace(".", r"\.")):
            check(merge(Config(), {section: {key: value}}, "test"))


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().text.maxlen = 3


# ---- documentation ------------------------------------------------------------------------------------------------


def test_every_setting_has_a_help_text_of_its_own():
    texts = [setting.about for _, _, settings in sections() for setting in settings]
    texts += [limit.about for limit in describe(Limits)]
    assert all(len(text) > 20 for text in texts)
    assert len(set(texts)) == len(texts)


def test_a_number_that_may_be_zero_says_what_that_means():
    for _, _, settings in sections():
        for setting in settings:
            count = setting.values.startswith("an integer, at least 0")
            if count and setting.name != "training.seed":
                assert re.search(r"\b0 for (no|never)", setting.about), setting.name


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("text.unit", "one of char, word"),
        ("text.clean", "true or false"),
        ("text.words", "a list of strings"),
        ("text.maxlen", "an integer, at least 2"),
        ("training.epochs", "an integer, at least 1; or auto"),
        ("vectors.norm", "a number, above 0; or auto"),
        ("model.layers", "a list of integers, each at least 1; not empty"),
        ("model.dropout", "a number, at least 0 and below 1"),
        ("training.tensorboard", "a string"),
    ],
)
def test_the_values_of_a_setting_are_described(name, values):
    described = {setting.name: setting.values for _, _, settings in sections() for setting in settings}
    assert described[name] == values


@pytest.mark.parametrize("table", [PRESETS, RECIPES])
def test_presets_and_recipes_describe_themselves(table):
    assert all(row.about for row in table.values())
    for row in table.values():
        check(merge(Config(), row.settings, "test"))


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(ConfigError, match="recipe 'contst' does not exist; did you mean 'contest'"):
        load("default", recipe="contst")


def test_auto_leaves_the_number_to_the_program():
    assert unless_auto("auto", 7) == 7
    assert unless_auto(3, 7) == 3
