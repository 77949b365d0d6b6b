"""A driver in plain NumPy: a chip that is simulated slowly and obviously, with a fixed pattern that nobody is told."""

import numpy as np

import hardware as hw
from hardware.observe import cadc_times, madc_times

LEAK, LSB_PER_WEIGHT = 80.0, 0.9
DT = 0.05


class NumpyChip:
    """LIF circuits with one synaptic current each, in exact steps of 0.05 µs; reset to the leak, no refractory period.

    It routes networks in its own way (it has synapses enough) and has its own codes: those that it is given are kept
    in `seen` and have no effect.
    """

    def __init__(self, pattern=0.1, threshold=125.0):
        self.threshold = threshold
        self.gain = 1 + pattern * np.random.default_rng(1).standard_normal(512)
        self.seen = []

    def run(self, setup, weights, spikes, t1, record, seed):
        """See `hardware.Driver`."""
        network = setup.network
        self.seen.append((setup, weights, seed))
        edges = [(p.source, p.target) for p in network.projections]
        fires = [any(event.emits for event in neuron.events) for neuron in network.neurons]
        taus = [(float(neuron.tau_mem), float(neuron.tau_syn)) for neuron in network.neurons]
        found = self._simulate(network.sizes, taus, fires, edges, weights, network.inputs, spikes, t1)
        events, traces = found
        slow, fast = cadc_times(t1, hw.BSS2), madc_times(t1, hw.BSS2)
        sampled = record.populations(network)
        rng = np.random.default_rng(seed)
        cadc = tuple(
            self._converted(traces[n], slow, rng) if n in sampled else None for n in range(len(network.neurons))
        )
        madc = [2.5 * traces[n][:, (fast / DT).astype(int), i] for n, i in record.madc]
        return hw.Answer(
            tuple(each if spiking else None for each, spiking in zip(events, fires, strict=True)),
            cadc,
            slow,
            np.floor(np.stack(madc, axis=-1)) if madc else None,
            np.zeros(len(spikes), int),
        )

    def measure(self, codes, stimulus, seed):
        """All circuits alike, with time constants of 10 µs."""
        times = np.concatenate(stimulus.times)
        index = np.repeat([0, 1], [len(x) for x in stimulus.times])
        weights = (np.outer(np.ones(512), [1, -1]) * stimulus.weight * stimulus.rows,)
        spikes = [(times, index)]
        events, traces = self._simulate(
            [512], [(10.0, 10.0)], [stimulus.features.spiking], [(None, 0)], weights, 2, spikes, stimulus.duration
        )
        slow = cadc_times(stimulus.duration, hw.BSS2)
        fast = (madc_times(stimulus.duration, hw.BSS2) / DT).astype(int)
        cadc = self._converted(traces[0], slow, np.random.default_rng(seed))
        spiking = stimulus.features.spiking
        return hw.Answer(
            (events[0] if spiking else None,), (cadc,), slow, 2.5 * traces[0][:, fast] if stimulus.madc else None, [0]
        )

    def _converted(self, trace, times, rng):
        v = trace[:, (times / DT).astype(int)]
        return np.clip(np.floor(v + 0.5 + 0.5 * rng.standard_normal(v.shape)), 0, 255)

    def _simulate(self, sizes, taus, fires, edges, weights, inputs, spikes, t1):
        """Events of each population and trial, and potentials [trials, steps, neurons] at the beginnings of steps."""
        trials, steps = len(spikes), round(t1 / DT)
        arriving = np.zeros((steps + 1, trials, inputs))
        for trial, (times, index) in enumerate(spikes):
            np.add.at(arriving, ((times / DT).astype(int).clip(0, steps), trial, index), 1)
        v = [np.full((trials, size), LEAK) for size in sizes]
        i = [np.zeros((trials, size)) for size in sizes]
        traces = [np.zeros((trials, steps, size)) for size in sizes]
        events = [[([], []) for _ in range(trials)] for _ in sizes]
        sent = [np.zeros((trials, size)) for size in sizes]
        for step in range(steps):
            for (source, target), weight in zip(edges, weights, strict=True):
                charge = (arriving[step] if source is None else sent[source]) @ weight.T
                i[target] = i[target] + LSB_PER_WEIGHT * self.gain[: sizes[target]] * charge
            for n, (tau_mem, tau_syn) in enumerate(taus):
                traces[n][:, step] = v[n]
                v[n] = v[n] + DT / tau_mem * (LEAK - v[n] + i[n])
                i[n] = i[n] * np.exp(-DT / tau_syn)
                above = (v[n] > self.threshold) & fires[n]
                sent[n] = above.astype(float)
                v[n] = np.where(above, LEAK, v[n])
                for trial, neuron in zip(*np.nonzero(above), strict=True):
                    events[n][trial][0].append((step + 1) * DT - DT / 2)
                    events[n][trial][1].append(neuron)
        return [[tuple(map(np.array, trial)) for trial in each] for each in events], traces
