"""Built-in students: sizes as published, names as published, the same draws for the same seed."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from manifold_probe.errors import InputError
from manifold_probe.models.load import forward, load_model
from manifold_probe.models.source import CHECKPOINT
from manifold_probe.models.students import STUDENTS, make, make_student
from manifold_probe.models.students.student import Student

SOURCE = "python:manifold_probe.models.students:make"
FEATURES = {
    "conv4": 128,
    "resnet8": 64,
    "resnet20": 64,
    "resnet56": 64,
    "resnet8x4": 256,
    "resnet32x4": 256,
    "resnet18": 512,
    "vit-ti": 192,
}


def small(name: str, classes: int | None = None, seed: int = 0, **arguments: int | bool) -> Student:
    """A student for 28 x 28 pixels, drawn from a seed."""
    torch.manual_seed(seed)
    size = {"size": 28, "patch": 14} if name == "vit-ti" else {}
    return make_student(name, classes, **size | arguments)


def images(side: int = 28, count: int = 4, channels: int = 3) -> torch.Tensor:
    return torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(1))


def parameters(module: nn.Module) -> int:
    return sum(each.numel() for each in module.parameters())


def convolution(kernel: int, before: int, width: int) -> int:
    """Weights of a convolution without bias and of the batch norm behind it."""
    return kernel**2 * before * width + 2 * width


def resnet_parameters(kernel: int, widths: tuple[int, ...], blocks: int, classes: int) -> int:
    total = convolution(kernel, 3, widths[0])
    for stage, (before, width) in enumerate(pairwise(widths)):
        total += convolution(3, before, width) + (2 * blocks - 1) * convolution(3, width, width)
        if stage or before != width:
            total += convolution(1, before, width)
    return total + (widths[-1] + 1) * classes


def vit_parameters(size: int, patch: int, classes: int) -> int:
    d = 192
    block = 2 * 2 * d + (d + 1) * 3 * d + (d + 1) * d + (d + 1) * 4 * d + (4 * d + 1) * d
    embedding = (3 * patch**2 + 1) * d + d + (1 + (size // patch) ** 2) * d
    return embedding + 12 * block + 2 * d + (d + 1) * classes


@pytest.mark.parametrize(
    ("name", "kernel", "widths", "blocks", "classes", "published"),
    [
        ("resnet8", 3, (16, 16, 32, 64), 1, 100, 0.08),
        ("resnet20", 3, (16, 16, 32, 64), 3, 100, 0.28),
        ("resnet56", 3, (16, 16, 32, 64), 9, 100, 0.86),
        ("resnet8x4", 3, (32, 64, 128, 256), 1, 100, 1.23),
        ("resnet32x4", 3, (32, 64, 128, 256), 5, 100, 7.43),
        ("resnet18", 7, (64, 64, 128, 256, 512), 2, 1000, 11.69),
    ],
)
def test_residual_networks_have_the_published_sizes(
    name: str, kernel: int, widths: tuple[int, ...], blocks: int, classes: int, published: float
) -> None:
    student = make_student(name, classes)
    assert parameters(student) == resnet_parameters(kernel, widths, blocks, classes)
    assert round(parameters(student) / 1e6, 2) == published


def test_vit_has_the_published_size() -> None:
    assert parameters(make_student("vit-ti", 1000)) == vit_parameters(224, 16, 1000) == 5_717_416
    assert parameters(small("vit-ti", 10)) == vit_parameters(28, 14, 10)


def test_conv4_layer_by_layer() -> None:
    student = make_student("conv4")
    layers = [each for each in student.modules() if not list(each.children())]
    assert [type(each) for each in layers] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] * 4
    convolutions = [each for each in layers if isinstance(each, nn.Conv2d)]
    assert [each.out_channels for each in convolutions] == [32, 64, 128, 128]
    for each in convolutions:
        assert (each.kernel_size, each.stride, each.padding, each.bias) == ((3, 3), (2, 2), (1, 1), None)
    widths = (3, 32, 64, 128, 128)
    assert parameters(student) == sum(convolution(3, *pair) for pair in pairwise(widths)) == 241184


@pytest.mark.parametrize("name", STUDENTS)
def test_docstrings_state_parameters_and_features(name: str) -> None:
    student = make_student(name)
    said = STUDENTS[name].__doc__ or ""
    assert f"{parameters(student):,} parameters" in said
    assert f"{student.width} features" in said


def test_every_student_is_listed() -> None:
    assert STUDENTS.keys() == FEATURES.keys()


@pytest.mark.parametrize("side", [28, 32, 64])
@pytest.mark.parametrize("name", STUDENTS)
def test_shapes(name: str, side: int) -> None:
    size = {"size": side, "patch": 4} if name == "vit-ti" else {}
    student = make_student(name, classes=7, **size)
    assert student.width == FEATURES[name]
    assert student(images(side, 2)).shape == (2, 7)
    assert student.features(images(side, 2)).shape == (2, FEATURES[name])


@pytest.mark.parametrize("name", ["conv4", "resnet8", "resnet18", "vit-ti"])
def test_large_pictures(name: str) -> None:
    assert make_student(name).eval()(images(224, 1)).shape == (1, FEATURES[name])


@pytest.mark.parametrize(("name", "left"), [("resnet8", 8), ("resnet18", 2)])
def test_strides(name: str, left: int) -> None:
    student = make_student(name)
    sides: list[int] = []
    last = getattr(student, student.stages[-1])
    last.register_forward_hook(lambda module, inputs, output: sides.append(output.shape[-1]))
    student(images(8 * 4 if name == "resnet8" else 64))
    assert sides == [left]


@pytest.mark.parametrize("name", STUDENTS)
def test_oblong_pictures(name: str) -> None:
    oblong = images(28)[:, :, :20]
    if name == "vit-ti":
        with pytest.raises(InputError, match=r"images of 28 x 28 pixels, got 20 x 28; resize them"):
            small(name)(oblong)
    else:
        assert small(name)(oblong).shape == (4, FEATURES[name])


@pytest.mark.parametrize("name", STUDENTS)
def test_grey_pictures(name: str) -> None:
    assert small(name, channels=1)(images(channels=1)).shape == (4, FEATURES[name])


@pytest.mark.parametrize("name", STUDENTS)
def test_the_same_seed_draws_the_same_weights(name: str) -> None:
    first, again, other = small(name).state_dict(), small(name).state_dict(), small(name, seed=1).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)
    with_classes = small(name, classes=10).state_dict()
    assert with_classes.keys() - first.keys() == {"fc.weight", "fc.bias"}
    assert all(torch.equal(first[key], with_classes[key]) for key in first)


@pytest.mark.parametrize("name", STUDENTS)
def test_logits_are_the_classifier_on_the_features(name: str) -> None:
    student = small(name, classes=10).eval()
    assert student.fc is not None
    torch.testing.assert_close(student(images()), student.fc(student.features(images())), rtol=0, atol=0)
    assert small(name).fc is None


@pytest.mark.parametrize("name", STUDENTS)
def test_gradients_reach_every_parameter(name: str) -> None:
    student = small(name, classes=10)
    # Cross-entropy: the plain sum has no gradient behind a LayerNorm or a batch norm
    nn.functional.cross_entropy(student(images()), torch.arange(4)).backward()
    for key, each in student.named_parameters():
        assert each.grad is not None, key
        assert torch.isfinite(each.grad).all(), key
        assert each.grad.abs().sum() > 0, key


@pytest.mark.parametrize("name", STUDENTS)
def test_eval_mode_treats_pictures_alone_and_alike(name: str) -> None:
    student = small(name)
    student(images())  # moves the running statistics, where there are any
    student.eval()
    with torch.no_grad():
        together = student(images())
        assert torch.equal(together, student(images()))
        alone = torch.cat([student(each[None]) for each in images()])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_convolutions_are_drawn_by_fan_out() -> None:
    student = small("resnet8x4")
    weight = student.layer3[0].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.01)
    assert student.bn1.weight.eq(1).all()
    assert student.bn1.bias.eq(0).all()


def test_linear_layers_of_the_vit_are_drawn_narrowly() -> None:
    student = small("vit-ti", classes=100)
    for key, each in student.named_modules():
        if isinstance(each, nn.Linear):
            assert each.weight.std().item() == pytest.approx(0.02, rel=0.03), key
            assert each.bias.eq(0).all(), key


def test_resnet18_has_the_names_of_torchvision() -> None:
    state = make_student("resnet18", 1000).state_dict()
    assert len(state) == 122
    shapes = {
        "conv1.weight": (64, 3, 7, 7),
        "bn1.running_mean": (64,),
        "layer1.0.conv1.weight": (64, 64, 3, 3),
        "layer1.1.bn2.num_batches_tracked": (),
        "layer2.0.conv1.weight": (128, 64, 3, 3),
        "layer2.0.downsample.0.weight": (128, 64, 1, 1),
        "layer2.0.downsample.1.running_var": (128,),
        "layer4.1.conv2.weight": (512, 512, 3, 3),
        "fc.weight": (1000, 512),
        "fc.bias": (1000,),
    }
    assert {key: tuple(state[key].shape) for key in shapes} == shapes
    assert "layer1.0.downsample.0.weight" not in state


def test_small_residual_networks_have_the_names_of_crd() -> None:
    state = make_student("resnet8x4", 100).state_dict()
    assert {key.partition(".")[0] for key in state} == {"conv1", "bn1", "layer1", "layer2", "layer3", "fc"}
    assert state["layer1.0.downsample.0.weight"].shape == (64, 32, 1, 1)  # the stem is narrower than the first stage
    assert "layer1.0.downsample.0.weight" not in make_student("resnet8").state_dict()


def test_vit_has_the_names_of_timm() -> None:
    state = make_student("vit-ti").state_dict()
    block = {f"{part}.{kind}" for part in ("norm1", "norm2", "mlp.fc1", "mlp.fc2") for kind in ("weight", "bias")}
    block |= {f"attn.{part}.{kind}" for part in ("qkv", "proj") for kind in ("weight", "bias")}
    assert state.keys() == {
        "cls_token",
        "pos_embed",
        "patch_embed.proj.weight",
        "patch_embed.proj.bias",
        "norm.weight",
        "norm.bias",
    } | {f"blocks.{index}.{key}" for index in range(12) for key in block}


def test_features_of_residual_networks_follow_a_relu() -> None:
    assert small("resnet20")(images()).min() >= 0


def test_vit_class_token_and_tokens() -> None:
    student, tokens = small("vit-ti").eval(), small("vit-ti", tokens=True).eval()
    assert tokens(images()).shape == (4, 1 + 4, 192)
    torch.testing.assert_close(tokens(images()), student.sequence(images()), rtol=0, atol=0)
    torch.testing.assert_close(tokens(images())[:, 0], student(images()), rtol=0, atol=0)
    torch.testing.assert_close(tokens.features(images()), student(images()), rtol=0, atol=0)


def test_vit_attention_against_its_definition() -> None:
    attention = small("vit-ti").blocks[0].attn
    x = torch.randn(2, 5, 192, generator=torch.Generator().manual_seed(2))
    weight, out = attention.qkv.weight, []
    for head in range(3):
        rows = slice(64 * head, 64 * head + 64)
        q, k, v = (x @ part[rows].T for part in weight.split(192))
        out.append(torch.softmax(q @ k.transpose(1, 2) / 8, -1) @ v)
    torch.testing.assert_close(attention(x), torch.cat(out, 2) @ attention.proj.weight.T, rtol=1e-4, atol=1e-6)


def test_vit_positions_tell_patches_apart() -> None:
    student = small("vit-ti").eval()
    swapped = images().roll(14, 3)  # the left patches change places with the right ones
    assert not torch.allclose(student(images()), student(swapped), atol=1e-4)
    with torch.no_grad():
        student.pos_embed.zero_()
    torch.testing.assert_close(student(images()), student(swapped), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["vit_ti", "ViT-Ti", "ResNet8x4"])
def test_other_spellings(name: str) -> None:
    assert type(make_student(name)) is type(make_student(name.lower().replace("_", "-")))


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("resnet9", {}, r"no student is called 'resnet9'; did you mean resnet\d+.*\? There are conv4, .*vit-ti$"),
        ("", {}, r"no student is called ''; There are conv4"),
        ("conv4", {"size": 32}, r"student conv4 takes no argument 'size'; it takes channels and classes"),
        ("conv4", {"classes": 0}, r"classes must be a whole number of at least 1, got 0"),
        ("conv4", {"classes": True}, r"classes must be a whole number of at least 1, got True"),
        ("resnet8", {"channels": 1.5}, r"channels must be a whole number of at least 1, got 1.5"),
        ("vit-ti", {"size": 28}, r"patches of 16 pixels do not fill a side of 28; a patch of 2, 4, 7, 14 fits"),
        ("vit-ti", {"size": 31}, r"do not fill a side of 31; choose another size"),
        ("vit-ti", {"patch": 0}, r"patch must be a whole number of at least 1, got 0"),
        ("vit-ti", {"tokens": "yes"}, r"tokens must be true or false, got 'yes'"),
        ("vit-ti", {"tokens": True, "classes": 10}, r"give either tokens or classes"),
    ],
)
def test_what_is_refused(name: str, arguments: dict[str, int | float | bool | str], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        make_student(name, **arguments)
    assert "\n" not in str(caught.value)


def test_as_a_model_source() -> None:
    model = load_model(f"{SOURCE}?name=vit-ti&size=28&patch=14&channels=1")
    assert (model.takes, model.channels) == ("images", 1)
    assert forward(model, images(channels=1)).shape == (4, 192)
    assert forward(load_model(f"{SOURCE}?name=resnet8&classes=5"), images()).shape == (4, 5)


@pytest.mark.parametrize(("query", "said"), [("name=conv5", "did you mean conv4"), ("name=conv4&size=3", "'size'")])
def test_a_model_source_that_is_refused(query: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        load_model(f"{SOURCE}?{query}")
    assert "\n" not in str(caught.value)


def test_rebuilt_from_a_checkpoint(tmp_path: Path) -> None:
    torch.manual_seed(7)
    arguments = {"name": "resnet8", "classes": 10, "channels": 1}
    student = make(**arguments)
    student(images(channels=1))
    path = tmp_path / "student.pt"
    saved = {"format": CHECKPOINT, "model": SOURCE, "arguments": arguments, "state": student.state_dict()}
    torch.save(saved, path)
    output = forward(load_model(str(path)), images(channels=1))
    assert torch.equal(output, student.eval()(images(channels=1)).detach())
