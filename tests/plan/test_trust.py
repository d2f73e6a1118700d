"""A recipe's consequences: what needs a word from outside, who gave it, and where the plan says so."""

from __future__ import annotations

import json

import pytest

from kohya_runner.errors import UsageError
from kohya_runner.plan.pipeline import make_plan
from kohya_runner.plan.report import plan_json
from kohya_runner.plan.value import Request

RECIPE = """\
name: gift
family: sd15
model: {{random: sd15}}
workspace: ./workspace
datasets:
  - {{images: ./pictures, concept: cat}}
args:
  resolution: 64
  max_train_epochs: 1
  {args}
{more}
"""


@pytest.fixture
def planned(odd_path, pictures, tmp_path):
    """A stranger's recipe beside its pictures, planned for another machine."""

    def plan(args="network_dim: 4", more="", *, recipe=RECIPE, trust=(), settings="", environ=None, **request):
        (odd_path / "pictures").exists() or pictures(2).rename(odd_path / "pictures")
        file = odd_path / "recipe.yaml"
        file.write_text(recipe.format(args=args, more=more), encoding="utf-8")
        config = tmp_path / "config" / "kohya-runner" / "config.yaml"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(settings, encoding="utf-8")
        own = environ or {}
        environ = own | {
            "XDG_CONFIG_HOME": str(tmp_path / "config"),
            "HOME": str(tmp_path),
            "MY_HOOK": "https://x.example",
        }
        return make_plan(Request(file, trust=tuple(trust), elsewhere=True, **request), environ=environ)

    return plan


def refused(plan):
    return [one.key for one in plan.consequences if not one.allowed]


ASKS = {
    "args.optimizer_type": ("optimizer_type: unittest.mock.Mock", ""),
    "args.lr_scheduler_type": ("lr_scheduler_type: timeit.timeit", ""),
    "args.network_module": ("network_module: antigravity", ""),
    "args.huggingface_repo_id": ("huggingface_repo_id: thief/loot", ""),
    "args.log_with": ("log_with: wandb", ""),
    "args.resume_from_huggingface": ("resume_from_huggingface: true", ""),
    "args.console_log_file": ("console_log_file: ~/.bashrc", ""),
    "args.log_prefix": ("log_prefix: ../../../x", ""),
    "args.log_tracker_name": ("log_tracker_name: ../x", ""),
    "args.tokenizer_cache_dir": ("tokenizer_cache_dir: /etc/tokenizers", ""),
    "launch.python": ("network_dim: 4", "launch: {python: ./pictures/python}"),
    "finish.notify": ("network_dim: 4", "finish: {notify: 'https://thief.example/x'}"),
    "finish.publish": ("network_dim: 4", "finish: {publish: thief/loot}"),
    "finish.stop_pod": ("network_dim: 4", "finish: {stop_pod: terminate}"),
}


@pytest.mark.parametrize("key", ASKS)
def test_a_consequence_needs_a_word_from_outside_the_recipe(planned, key: str):
    plan = planned(*ASKS[key])
    assert refused(plan) == [key]
    found = [f for f in plan.findings if f.code == "recipe.trust"]
    assert [f.severity.value for f in found] == ["error"]
    assert f"--trust {key}" in found[0].hint
    assert "recipe.yaml:" in found[0].where
    assert refused(planned(*ASKS[key], trust=(key,))) == []
    assert refused(planned(*ASKS[key], settings=f"trust: [{key}]\n")) == []


@pytest.mark.parametrize("key", ["args.optimizer_type", "args.huggingface_repo_id", "args.console_log_file"])
def test_the_command_line_needs_no_second_word(planned, key: str):
    said = ASKS[key][0].replace(": ", "=", 1)
    plan = planned(overrides=(f"args.{said}",))
    assert [(one.key, one.allowed) for one in plan.consequences] == [(key, True)]


def test_a_base_recipe_cannot_be_called_like_the_command_line(planned, odd_path):
    (odd_path / "--set args.optimizer_type").write_text("args: {optimizer_type: evil.Thing}\n", encoding="utf-8")
    assert refused(planned(more="extends: ['--set args.optimizer_type']")) == ["args.optimizer_type"]


def test_a_consent_can_be_for_one_value_alone(planned):
    asked = ASKS["args.optimizer_type"]
    assert refused(planned(*asked, trust=("args.optimizer_type=unittest.mock.Mock",))) == []
    assert refused(planned(*asked, trust=("args.optimizer_type=other.Thing",))) == ["args.optimizer_type"]


def test_a_consent_to_publish_for_oneself_is_none_to_publish_for_everybody(planned):
    asked = ("network_dim: 4", "finish: {publish: {repo: thief/loot, epoch: all, public: true}}")
    (told,) = planned(*asked).consequences
    assert told.text == "publish every epoch with a model card to thief/loot on the Hub, for everybody"
    assert refused(planned(*asked, trust=("finish.publish=thief/loot",))) == ["finish.publish"]
    assert refused(planned(*asked, trust=("finish.publish=thief/loot:public",))) == []


def test_a_consent_that_names_nothing_is_a_mistake_of_the_command_line(planned):
    with pytest.raises(UsageError, match="optimizer_type") as fault:
        planned(trust=("optimizer_type",))
    assert "args.optimizer_type" in fault.value.hint


@pytest.mark.parametrize(
    ("args", "more"),
    [
        ("log_with: tensorboard", ""),
        ("{log_prefix: first_, log_tracker_name: cats}", ""),
        ("optimizer_type: Prodigy", ""),
        ("tokenizer_cache_dir: ./workspace/tokenizers", ""),
        ("network_dim: 4", "finish: {notify: {env: KOHYA_NOTIFY_URL}}"),
    ],
)
def test_what_harms_nobody_is_not_asked_for(planned, args, more):
    args = args.strip("{}").replace(", ", "\n  ")
    assert planned(args, more).consequences == ()


def test_a_message_to_an_address_of_another_variable_is_asked_for(planned):
    assert refused(planned(more="finish: {notify: {env: MY_HOOK}}")) == ["finish.notify"]


@pytest.mark.parametrize("workspace", ["/var/lib/elsewhere", "../../elsewhere", "~/x"])
def test_a_workspace_somewhere_else_is_asked_for(planned, odd_path, workspace: str):
    (odd_path / "base.yaml").write_text(f"workspace: {workspace}\n", encoding="utf-8")
    recipe = RECIPE.replace("workspace: ./workspace", "extends: ./base.yaml")
    assert refused(planned(recipe=recipe)) == ["workspace"]
    assert refused(planned(recipe=recipe, trust=("workspace",))) == []
    assert refused(planned(recipe=recipe, overrides=("workspace=/var/lib/elsewhere",))) == []
    assert refused(planned(recipe=recipe, workspace=str(odd_path / "w"))) == []


def test_what_is_sent_with_ones_own_upload_is_told(planned):
    plan = planned("huggingface_repo_visibility: public", overrides=("args.huggingface_repo_id=me/mine",))
    assert refused(plan) == ["args.huggingface_repo_visibility"]


def test_a_pickle_is_an_error_whoever_named_it(planned):
    plan = planned("network_weights: ./old.pt", overrides=("model=/models/v1-5.ckpt",))
    found = [f for f in plan.findings if f.code == "model.pickle"]
    assert [(f.severity.value, f.message.partition(":")[0]) for f in found] == [
        ("error", "args.network_weights"), ("error", "model"),
    ]  # fmt: skip
    assert "weights_only=True" in found[0].hint
    assert refused(planned("network_weights: ./old.pt", trust=("args.network_weights",))) == []


def test_consequences_come_first_in_the_json_and_hold_no_secret(planned):
    told = plan_json(planned("huggingface_repo_id: thief/hf_abcdefghijklmnopqrstuv"))
    assert list(told).index("consequences") < list(told).index("commands")
    assert told["consequences"][0]["allowed"] is False
    assert "hf_abcdefghijklmnopqrstuv" not in json.dumps(told)


@pytest.mark.parametrize(
    ("model", "offline", "needs"),
    [
        pytest.param("{{random: sd15}}", "0", set(), id="random weights"),
        pytest.param("/models/a.safetensors", "1", set(), id="offline"),
        pytest.param("/models/a.safetensors", "0", {"hub"}, id="tokenizers of the Hub"),
        pytest.param("org/repo", "1", {"hub"}, id="a model of the Hub"),
    ],
)
def test_a_run_has_the_hubs_token_only_where_it_asks_the_hub(planned, model, offline, needs):
    recipe = RECIPE.replace("{{random: sd15}}", model)
    environ = {"HF_HUB_OFFLINE": offline, "HF_TOKEN": "hf_x"}
    plan = planned(recipe=recipe, environ=environ)
    assert plan.command.needs == needs
    assert planned(args="log_with: wandb", recipe=recipe, environ=environ).command.needs == {*needs, "wandb"}
