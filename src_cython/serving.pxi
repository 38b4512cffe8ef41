# The passes of a call that comes from XLA, as those of layers.pxi, of arrays that are addresses.
# Part of core.pyx.


cdef void begin_foreign(
    Pass[real_t]* p, Foreign[real_t]* f, isize layer, isize direction
) noexcept nogil:
    """A pass that knows its sizes, its rows and what it reads."""
    p[0] = Pass[real_t]()
    set_sizes(p, &f.cell, f.columns() if layer else f.I, f.H, f.P)
    p.steps = p.duration = f.steps
    p.B, p.reverse = f.B, direction
    if not f.table.empty():
        p.order = f.table.data()
        p.lengths = p.order + f.B
        p.alive_rows = p.lengths + f.B
    p.x, p.x_row, p.x_step = f.x, p.I, f.B * p.I
    if layer:
        p.x = f.sources[layer - 1]
    elif f.batch_first:
        p.x_row, p.x_step = f.steps * p.I, p.I


cdef void take_kept(Pass[real_t]* p, ForeignCell[real_t]* cell) noexcept nogil:
    cdef int s
    p.keeps, p.instants = True, p.steps + 1
    p.gates = cell.gates
    for s in range(p.cell.states):
        p.state[s].values = cell.values[s]
    p.state[H].made = cell.made


cdef void take_outputs(
    Pass[real_t]* p, Foreign[real_t]* f, real_t* y, isize direction, bint user
) noexcept nogil:
    """Where outputs, or their gradients, lie: as the `user` has them, or steps first."""
    cdef isize columns = f.columns()
    p.y, p.y_row, p.y_step = y + direction * p.P, columns, f.B * columns
    if user and f.batch_first:
        p.y_row, p.y_step = f.steps * columns, columns


cdef void no_steps(Pass[real_t]* p, Foreign[real_t]* f, real_t** given, real_t** to) noexcept nogil:
    """Neither steps nor rows: states stay."""
    cdef int s
    for s in range(f.cell.states):
        if f.B > 0:
            memcpy(
                to[s], given[s],
                f.layers * f.directions * f.B * p.state[s].units * sizeof(real_t),
            )


cdef double operations_of(Pass[real_t]* p, Foreign[real_t]* f) noexcept nogil:
    """Of a row of all passes at a step."""
    begin_foreign(p, f, 0, 0)
    cdef double all = operations_of_row(p, True)
    if f.layers > 1:
        begin_foreign(p, f, 1, 0)
        all += (f.layers - 1) * operations_of_row(p, True)
    return f.directions * all


cdef int forward_foreign(Pass[real_t]* p, Foreign[real_t]* f, bint keeps) except -1 nogil:
    cdef unique_ptr[Team[real_t]] team
    cdef Arena[real_t] memory
    cdef Plan plan
    cdef isize layer, direction, k = 0, last = f.layers - 1, units
    cdef isize passed = 0 if keeps or last == 0 else f.steps * f.B * f.columns()
    cdef isize of_states
    cdef double operations
    cdef real_t* y
    cdef int s
    if f.steps * f.B == 0:
        no_steps(p, f, f.starts, f.ends)
        return 0
    of_states = states_of_pass(p, f.B, NULL)
    operations = operations_of(p, f)
    memory.reserve((0 if keeps else f.cells.size() * of_states) + 2 * passed, 0, f.cells.size() + 2)
    if passed > 0:  # the outputs of two layers, in turn
        for layer in range(last):
            f.sources[layer] = f.sources[layer - 2] if layer > 1 else memory.reals(passed)
    if not f.table.empty():
        memset(f.y, 0, f.steps * f.B * f.columns() * sizeof(real_t))
        for layer in range(last):
            memset(f.sources[layer], 0, f.steps * f.B * f.columns() * sizeof(real_t))
    for layer in range(f.layers):
        y = f.y if layer == last else f.sources[layer]
        for direction in range(f.directions):
            begin_foreign(p, f, layer, direction)
            take_outputs(p, f, y, direction, layer == last)
            if keeps:
                take_kept(p, &f.cells[k])
            else:
                states_of_pass(p, f.B, memory.reals(of_states))
            for s in range(f.cell.states):
                units = p.state[s].units
                copy_rows(
                    p, s, <const char*> (f.starts[s] + k * f.B * units), units * sizeof(real_t),
                    sizeof(real_t), p.state[s].values,
                )
                p.state[s].last = f.ends[s] + k * f.B * units
            if k == 0:
                plan_stack(p, operations, f.layers, f.directions, &plan, &team)
            start_forward(
                p, &f.cells[k].given, team.get(), plan, home_of(&plan, layer, direction)
            )
            k += 1
        if team:
            team.get().end_layer()
    if team:
        run_crew(&team.get().crew, plan.size)
    return 0


cdef void take_gradients(Pass[real_t]* p, Given[real_t]* d, real_t* dx) noexcept nogil:
    """Where gradients are written to: zeros, to which the pass adds."""
    cdef isize rows = p.cell.gates * p.H
    cdef int k
    p.dx = dx
    p.dw_ih, p.dw_hh = <real_t*> d.w_ih.values, <real_t*> d.w_hh.values
    p.dw_hr = <real_t*> d.w_hr.values
    p.db_ih, p.db_hh = <real_t*> d.b_ih, <real_t*> d.b_hh
    memset(p.dw_ih, 0, rows * p.I * sizeof(real_t))
    memset(p.dw_hh, 0, rows * p.P * sizeof(real_t))
    if p.db_ih != NULL:
        memset(p.db_ih, 0, rows * sizeof(real_t))
        memset(p.db_hh, 0, rows * sizeof(real_t))
    if p.dw_hr != NULL:
        memset(p.dw_hr, 0, p.P * p.H * sizeof(real_t))
    for k in range(p.cell.vectors):
        p.dvector[k] = <real_t*> d.vectors[k]
        memset(p.dvector[k], 0, p.H * sizeof(real_t))


cdef int backward_foreign(Pass[real_t]* p, Foreign[real_t]* f) except -1 nogil:
    cdef unique_ptr[Team[real_t]] team
    cdef Arena[real_t] memory, own
    cdef Plan plan
    cdef isize layer, direction, k, last = f.layers - 1, units, rows = f.steps * f.B
    cdef isize inner = rows * f.columns(), n, second = rows * f.I if f.directions > 1 else 0
    cdef double operations = operations_of(p, f)
    cdef Pass[real_t]* ready
    cdef vector[real_t*] dxs  # of each layer and direction
    cdef int s
    begin_foreign(p, f, 0, 0)
    if rows == 0:
        for k in range(<isize> f.cells.size()):
            begin_foreign(p, f, k // f.directions, 0)
            take_gradients(p, &f.cells[k].d, NULL)
        no_steps(p, f, f.ends, f.starts)
        return 0
    dxs.resize(f.cells.size())
    n = min(last, 2) * f.directions  # layers take turns with two sets of arrays
    memory.reserve(n * inner + second, 0, n + 1)
    for k in range(<isize> f.cells.size() - 1, -1, -1):
        dxs[k] = NULL
    dxs[0] = f.dx
    if f.directions > 1:
        dxs[1] = memory.reals(second)
    for k in range(f.directions, <isize> f.cells.size()):
        dxs[k] = dxs[k - n] if k >= f.directions + n else memory.reals(inner)
    if not f.table.empty():
        memset(f.dx, 0, rows * f.I * sizeof(real_t))
        if f.directions > 1:
            memset(dxs[1], 0, second * sizeof(real_t))
        for k in range(f.directions, min(<isize> f.cells.size(), f.directions + n)):
            memset(dxs[k], 0, inner * sizeof(real_t))
    for layer in range(last, -1, -1):
        for direction in range(f.directions):
            k = layer * f.directions + direction
            begin_foreign(p, f, layer, direction)
            take_kept(p, &f.cells[k])
            if layer == last:
                take_outputs(p, f, f.y, direction, True)
            else:
                take_outputs(p, f, dxs[k - direction + f.directions], direction, False)
                if f.directions > 1:
                    p.dy_more = dxs[k - direction + f.directions + 1] + direction * p.P
            take_gradients(p, &f.cells[k].d, dxs[k])
            if layer == last and direction == 0:
                plan_stack(p, operations, f.layers, f.directions, &plan, &team)
            ready = ready_backward(p, &f.cells[k].given, team.get(), plan, &own)
            for s in range(f.cell.states):
                units = p.state[s].units
                copy_rows(
                    ready, s, <const char*> (f.ends[s] + k * f.B * units), units * sizeof(real_t),
                    sizeof(real_t), ready.state[s].d,
                )
                ready.state[s].last = f.starts[s] + k * f.B * units
            start_backward(ready, team.get(), plan, home_of(&plan, last - layer, direction))
        if team:
            team.get().end_layer()
    if team:
        run_crew(&team.get().crew, plan.size)
        for n in range(<isize> f.cells.size()):
            end_backward(&team.get().passes[n])
    if f.directions > 1:
        for n in range(second):
            f.dx[n] += dxs[1][n]
    return 0
