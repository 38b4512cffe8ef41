# All layers of a stack, forward and back: one after another, or together where threads share them.
# Part of core.pyx.

from libcpp.memory cimport unique_ptr


cdef int plan_stack(
    Pass[real_t]* p, double row_operations, isize layers, isize directions, Plan* plan,
    unique_ptr[Team[real_t]]* team,
) except -1 nogil:
    """How threads share a stack, of which this is the first pass; with a team if they do."""
    plan[0] = plan_of_stack(p, row_operations, <int> layers, <int> directions, thread_limit)
    if plan.size > 1 and layers * directions > 1:
        team.reset(new Team[real_t]())
    return 0


cdef int home_of(const Plan* plan, isize layer, isize direction) noexcept nogil:
    """The rank of the thread that should have the first track of a pass."""
    return <int> (layer if plan.behind else direction * plan.share)


cdef int infer_stack(
    Stack stack, given, Rows x, table, starts, Rows y, ends
) except -1:
    cdef Pass[float] single
    cdef Pass[double] double_
    if stack.itemsize == sizeof(float):
        return infer_of[float](&single, stack, given, x, table, starts, y, ends)
    return infer_of[double](&double_, stack, given, x, table, starts, y, ends)


cdef int infer_of(
    Pass[real_t]* p, Stack stack, given, Rows x, table, starts, Rows y, ends
) except -1:
    """`y` may start at null: outputs that nobody wants."""
    cdef unique_ptr[Team[real_t]] team
    cdef Arena[real_t] memory
    cdef Plan plan
    cdef isize layer, direction, k = 0, last = len(stack.layers) - 1, columns = stack.columns
    cdef isize of_states = x.B * stack.row_size, passed = x.T * x.B * columns if last > 0 else 0
    cdef real_t* states
    cdef real_t* between[2]
    cdef Shape shape
    memset(&plan, 0, sizeof(Plan))  # as long as there is no pass
    check_sizes(0 < x.T and 0 < x.B and len(given) == stack.count)
    check_sizes(last == 0 or y.at != NULL)
    memory.reserve(stack.count * of_states + 2 * passed, 0, 3)
    states = memory.reals(stack.count * of_states)
    for layer in range(2):  # the outputs of two layers, in turn
        between[layer] = memory.reals(passed)
    for layer in range(last + 1):
        direction = 0
        for shape, reverse in stack.layers[layer]:
            set_pass(p, shape)
            if layer == 0:
                set_x[real_t](p, x, reverse, table)
            else:
                set_steps[real_t](p, x.T, x.B, reverse, table)
                p.x, p.x_step, p.x_row = between[(layer - 1) % 2], x.B * columns, columns
            if layer < last:
                p.y, p.y_step, p.y_row = between[layer % 2], x.B * columns, columns
            else:
                set_y(p, y, columns)
            if p.y != NULL:
                p.y += direction * p.P
            states_of_pass(p, x.B, states + k * of_states)
            set_states(p, starts, ends, k)
            if k == 0:
                plan_stack(
                    p, stack.row_operations, last + 1, stack.directions, &plan, &team
                )
            do_forward(p, shape, given[k], team.get(), plan, home_of(&plan, layer, direction))
            direction += 1
            k += 1
        if team:
            team.get().end_layer()
    if team:
        with nogil:
            run_crew(&team.get().crew, plan.size)
    return 0


cdef isize states_of_pass(Pass[real_t]* p, isize B, real_t* memory) noexcept nogil:
    """Lay out two instants of every state, and what a projection reads; return what it takes."""
    cdef real_t* free = memory
    cdef int s
    p.instants = 2
    for s in range(p.cell.states):
        p.state[s].values = free
        free += 2 * B * p.state[s].width()
    if p.cell.options & PROJECTION:
        p.state[H].made = free
        free += B * p.width()
    return free - memory


cdef int forward_stack(
    Stack stack, given, list sources, list drops, table, starts, list masks,
    list memories, Rows y, ends,
) except -1:
    """`drops` and `masks` may be None."""
    cdef Pass[float] single
    cdef Pass[double] double_
    check_sizes(len(given) == stack.count == len(memories))
    check_sizes(len(sources) == len(stack.layers))
    check_sizes(drops is None or len(drops) == len(sources) - 1)
    check_sizes(masks is None or len(masks) == stack.count)
    if stack.itemsize == sizeof(float):
        return trace_of[float](
            &single, stack, given, sources, drops, table, starts, masks, memories, y, ends
        )
    return trace_of[double](
        &double_, stack, given, sources, drops, table, starts, masks, memories, y, ends
    )


cdef int trace_of(
    Pass[real_t]* p, Stack stack, given, list sources, list drops, table, starts,
    list masks, list memories, Rows y, ends,
) except -1:
    cdef unique_ptr[Team[real_t]] team
    cdef Plan plan
    cdef isize layer, direction, k = 0, last = len(stack.layers) - 1, size = sizeof(real_t)
    cdef Rows x, outputs, drop
    cdef Shape shape
    memset(&plan, 0, sizeof(Plan))  # as long as there is no pass
    for layer in range(last + 1):
        x = rows_of(sources[layer], size, False, False)
        outputs = y if layer == last else rows_of(sources[layer + 1], size, False, True)
        drop = drop_of(drops, layer, last, size)
        direction = 0
        for shape, reverse in stack.layers[layer]:
            set_pass(p, shape)
            set_x[real_t](p, x, reverse, table)
            set_masks(p, None if masks is None else masks[k])
            set_room[real_t](p, shape, 0, x.T, memories[k], True)
            set_y(p, columns_of(outputs, direction * p.P, p.P, size), p.P)
            set_y_mask(p, columns_of(drop, direction * p.P, p.P, size))
            set_states(p, starts, ends, k)
            if k == 0:
                plan_stack(
                    p, stack.row_operations, last + 1, stack.directions, &plan, &team
                )
            do_forward(p, shape, given[k], team.get(), plan, home_of(&plan, layer, direction))
            direction += 1
            k += 1
        if team:
            team.get().end_layer()
    if team:
        with nogil:
            run_crew(&team.get().crew, plan.size)
    return 0


cdef Rows drop_of(list drops, isize layer, isize last, isize itemsize) except *:
    """What the outputs of a layer are multiplied with on their way to the next one."""
    return rows_of(None if drops is None or layer == last else drops[layer], itemsize, False, False)


cdef int backward_stack(
    Stack stack, given, list sources, list drops, table, list masks,
    list memories, Rows dy, dends, flow, list dxs, list dweights, dstarts,
) except -1:
    """`drops` and `masks` may be None."""
    cdef Pass[float] single
    cdef Pass[double] double_
    check_sizes(len(given) == stack.count == len(memories) and len(dweights) == stack.count)
    check_sizes(len(sources) == len(stack.layers) == len(dxs))
    check_sizes(drops is None or len(drops) == len(sources) - 1)
    check_sizes(masks is None or len(masks) == stack.count)
    if stack.itemsize == sizeof(float):
        return back_of[float](
            &single, stack, given, sources, drops, table, masks, memories, dy, dends, flow, dxs,
            dweights, dstarts,
        )
    return back_of[double](
        &double_, stack, given, sources, drops, table, masks, memories, dy, dends, flow, dxs,
        dweights, dstarts,
    )


cdef int back_of(
    Pass[real_t]* p, Stack stack, given, list sources, list drops, table,
    list masks, list memories, Rows dy, dends, flow, list dxs, list dweights,
    dstarts,
) except -1:
    cdef unique_ptr[Team[real_t]] team
    cdef Plan plan
    cdef isize layer, direction, k, last = len(stack.layers) - 1, size = sizeof(real_t), n
    cdef Rows x, arriving, more, drop
    cdef Shape shape
    memset(&plan, 0, sizeof(Plan))  # as long as there is no pass
    for layer in range(last, -1, -1):
        x = rows_of(sources[layer], size, False, False)
        arriving, more = dy, no_rows()
        if layer < last:
            arriving = rows_of(dxs[layer + 1][0], size, False, False)
            if stack.directions == 2:
                more = rows_of(dxs[layer + 1][1], size, False, False)
        drop = drop_of(drops, layer, last, size)
        for direction in range(stack.directions):
            k = layer * stack.directions + direction
            shape, reverse = stack.layers[layer][direction]
            set_pass(p, shape)
            set_x[real_t](p, x, reverse, table)
            set_masks(p, None if masks is None else masks[k])
            set_room[real_t](p, shape, 0, x.T, memories[k], False)
            set_y(p, columns_of(arriving, direction * p.P, p.P, size), p.P)
            set_y_mask(p, columns_of(drop, direction * p.P, p.P, size))
            set_more(p, columns_of(more, direction * p.P, p.P, size))
            set_flow[real_t](p, None if flow is None else flow[:, k])
            check_sizes(layer == 0 or dxs[layer][direction] is not None)
            set_gradients(p, dxs[layer][direction], dweights[k])
            if layer == last and direction == 0:
                plan_stack(
                    p, stack.row_operations, last + 1, stack.directions, &plan, &team
                )
            do_backward(
                p, given[k], dends, dstarts, k, team.get(), plan,
                home_of(&plan, last - layer, direction),
            )
        if team:
            team.get().end_layer()
    if team:
        with nogil:
            run_crew(&team.get().crew, plan.size)
        for n in range(stack.count):
            end_backward(&team.get().passes[n])
    return 0
