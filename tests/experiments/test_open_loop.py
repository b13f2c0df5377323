"""Errors of open-loop predictions against loops over time, row and pixel."""

import math

import numpy as np
import pytest
import torch
from small_models import make_chunk, make_model

from planet import noise
from planet.experiments.open_loop import chunk_errors, held_out_chunks, open_loop
from planet.latent import LatentState
from planet.noise import STREAM_POSTERIOR, STREAM_STATE, mix_seed, row_seeds
from planet.protocols import Chunk
from planet.replay import Episode, ReplayBuffer
from planet.training.seeds import VALIDATION

STEPS, ROWS, CONTEXT = 7, 3, 2
DISTANCES = (1, 2, 4)


@torch.no_grad()
def by_hand(chunk: Chunk, row: int, seed: int, distance: int) -> dict[str, float]:
    """One error of one row, step by step."""
    model, seeds = make_model(), torch.tensor([seed])
    size = model.config.state_size
    filter_noise, prior_noise = (
        noise.normals(seeds, STEPS, size, stream=stream)[0]
        for stream in (STREAM_POSTERIOR, STREAM_STATE)
    )
    inputs = model.inputs({"image": chunk.observation["image"][:, row : row + 1]}, seeds)
    latent, t = model.initial(1), CONTEXT - 1 + distance
    filtered = model.filter_chunk(
        model.embed(inputs), chunk.action[:, row : row + 1], filter_noise[:, None]
    )
    latent = LatentState(filtered.latent.belief[CONTEXT - 1], filtered.latent.state[CONTEXT - 1])
    for k in range(CONTEXT, t + 1):
        belief, prior = model.transition(latent, chunk.action[k, row : row + 1])
        latent = LatentState(belief, prior.mean + prior.stddev * prior_noise[k])
    picture, truth = model.decode(latent)["image"][0].tolist(), inputs["image"][t, 0].tolist()
    pairs = [
        (p, q)
        for a, b in zip(picture, truth, strict=True)
        for c, d in zip(a, b, strict=True)
        for p, q in zip(c, d, strict=True)
    ]
    divergence = 0.0
    posterior = filtered.posterior
    for i in range(size):
        m, s = posterior.mean[t, 0, i].item(), posterior.stddev[t, 0, i].item()
        n, r = prior.mean[0, i].item(), prior.stddev[0, i].item()
        divergence += math.log(r / s) + (s * s + (m - n) ** 2) / (2 * r * r) - 0.5
    return {
        "image": sum((p - q) ** 2 for p, q in pairs) / len(pairs),
        "reward": (model.reward(latent).item() - chunk.reward[t, row].item()) ** 2,
        "divergence": divergence,
    }


def test_errors_are_those_of_a_loop_over_steps_rows_and_pixels() -> None:
    chunk, seeds = make_chunk(STEPS, ROWS), row_seeds(5, ROWS)
    found = chunk_errors(make_model(), chunk, seeds, CONTEXT)
    for row in range(ROWS):
        for index, distance in enumerate(DISTANCES):
            for name, expected in by_hand(chunk, row, int(seeds[row]), distance).items():
                got = found[name][index, row].item()
                assert got == pytest.approx(expected, rel=2e-5), (name, row, distance)


def test_means_and_standard_errors_are_over_all_chunks_whatever_the_batches() -> None:
    chunk, seeds = make_chunk(STEPS, ROWS), row_seeds(mix_seed(3, VALIDATION), ROWS)
    errors = chunk_errors(make_model(), chunk, seeds, CONTEXT)
    rows = [rows_of(chunk, 0, 2), rows_of(chunk, 2, 3)]
    result = open_loop(make_model(), rows, 3, CONTEXT)
    assert (result.chunks, result.distances) == (ROWS, DISTANCES)
    for name, values in errors.items():
        expected = values.double().numpy()
        spread = expected.std(axis=1, ddof=1) / math.sqrt(ROWS)
        np.testing.assert_allclose(result.means[name], expected.mean(axis=1), rtol=1e-5)
        np.testing.assert_allclose(result.standard_errors[name], spread, rtol=1e-3)
    metrics = result.metrics()
    assert metrics["open_loop/divergence_4"] == result.means["divergence"][2]
    assert (
        metrics["open_loop/divergence_4_standard_error"] == result.standard_errors["divergence"][2]
    )
    alone = open_loop(make_model(), rows[1:], 3, CONTEXT)
    assert set(alone.standard_errors["image"]) == {0.0}


def test_a_table_has_a_line_per_distance() -> None:
    result = open_loop(make_model(), [make_chunk(STEPS, ROWS)], 0, CONTEXT)
    head, *lines = result.table().splitlines()
    expected = ["distance"]
    for name in ("image", "reward", "divergence"):
        expected += [name, "+-", "s.e."]
    assert head.split() == expected
    assert [int(line.split()[0]) for line in lines] == list(DISTANCES)
    assert float(lines[1].split()[1]) == pytest.approx(result.means["image"][1], rel=1e-3)


def test_short_chunks_are_filtered_less() -> None:
    assert open_loop(make_model(), [make_chunk(3, ROWS)], 0, 9).distances == (1,)


def test_held_out_episodes_are_read_piece_by_piece(tmp_path) -> None:  # type: ignore[no-untyped-def]
    buffer = ReplayBuffer(tmp_path)
    for steps in (8, 3, 2):  # 2, 1 and no pieces of 4 entries
        reward, ended = np.arange(steps + 1, dtype=np.float32), np.zeros(steps + 1, bool)
        vector = reward[:, None] + 100 * steps
        buffer.add(Episode({"vector": vector}, 0 * vector, reward, ended))
    chunks = list(held_out_chunks(buffer.episodes.values(), 4, 2))
    starts = [chunk.observation["vector"][0, :, 0].tolist() for chunk in chunks]
    assert starts == [[800, 804], [300]]


def test_nothing_to_predict_is_refused() -> None:
    with pytest.raises(ValueError, match="chunks: expected one or more, got none"):
        open_loop(make_model(), [], 0)
    with pytest.raises(ValueError, match="context: expected a value >= 1, got 0"):
        open_loop(make_model(), [make_chunk()], 0, 0)


def rows_of(chunk: Chunk, first: int, last: int) -> Chunk:
    arrays = (chunk.observation["image"], chunk.action, chunk.reward, chunk.terminated)
    image, *rest = (array[:, first:last] for array in arrays)
    return Chunk({"image": image}, *rest)
