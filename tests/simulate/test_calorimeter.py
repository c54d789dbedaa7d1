"""Calorimeter cells and energy resolutions."""

import numpy as np
import pytest

from kd_trainer.simulate.calorimeter import (
    DEGREE,
    cells,
    ecal_cell_size,
    ecal_resolution,
    hcal_cell_size,
    hcal_resolution,
    smear_energy,
)


def test_cells_join_neighbours_of_one_event_only():
    event = np.array([0, 0, 1, 0])
    eta, phi = np.array([0.101, 0.102, 0.101, -0.101]), np.full(4, 1.0)
    first, cell = cells(event, eta, phi, np.full(4, 5 * DEGREE))
    assert len(first) == 3
    assert cell[0] == cell[1]
    assert len({cell[0], cell[2], cell[3]}) == 3


def test_cells_of_different_size_are_different():
    """The same column and row number on both sides of a change of granularity."""
    eta = np.array([1.4 * DEGREE / 0.02, 1.5])
    _, cell = cells(np.zeros(2, int), eta, np.zeros(2), ecal_cell_size(eta))
    assert cell[0] != cell[1]


def test_cells_conserve_energy():
    rng = np.random.default_rng(1)
    event, eta = np.sort(rng.integers(0, 5, 3000)), rng.uniform(-5, 5, 3000)
    phi, energy = rng.uniform(-np.pi, np.pi, 3000), rng.exponential(10, 3000)
    for size in (ecal_cell_size(np.abs(eta)), hcal_cell_size(np.abs(eta))):
        first, cell = cells(event, eta, phi, size)
        total = np.bincount(event[first], np.bincount(cell, energy), minlength=5)
        assert total == pytest.approx(np.bincount(event, energy))
        assert np.abs(eta - eta[first][cell]).max() <= size.max()


def test_cells_are_unique_everywhere():
    """As many cells as there are distinct (region, column, row), to the edges of the calorimeter."""
    phi, eta = (grid.ravel() for grid in np.meshgrid(np.linspace(-np.pi, np.pi, 400), np.linspace(-5, 5, 700)))
    size = ecal_cell_size(np.abs(eta))
    numbers = np.stack([size, np.floor(eta / size), np.floor((phi + np.pi) / size)])
    first, _ = cells(np.zeros(len(eta), int), eta, phi, size)
    assert len(first) == len(np.unique(numbers, axis=1).T)


@pytest.mark.parametrize(("energy", "sigma"), [(1.0, 0.9), (50.0, 8.0), (200.0, 2.0)])
def test_smearing_keeps_the_mean_and_has_the_width(energy, sigma):
    smeared = smear_energy(np.full(200_000, energy), np.full(200_000, sigma), np.random.default_rng(2))
    assert smeared.min() > 0
    assert smeared.mean() == pytest.approx(energy, abs=5 * sigma / np.sqrt(200_000))
    assert smeared.std() == pytest.approx(sigma, rel=0.03)


def test_smearing_leaves_nothing_nothing():
    assert (smear_energy(np.zeros(3), np.ones(3), np.random.default_rng(0)) == 0).all()


def test_resolution_of_published_points():
    energy = np.array([100.0])
    assert ecal_resolution(energy, np.array([0.0])) == pytest.approx(np.hypot(np.hypot(0.28, 0.12), 1.0))
    assert hcal_resolution(energy, np.array([0.0])) == pytest.approx(np.hypot(11, 9))
