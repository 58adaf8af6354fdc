"""The velocity filter in ARMv6-M assembler, with its signature.

As thumb_sums12.py, to whose header the same holds. The square of a velocity, 48 bits, is summed
in three parts, (h << 12 | l)**2 = h*h << 24 + h*l << 13 + l*l, which 64 samples do not fill.
Imported by the package's `__init__` only.
"""

import micropython


@micropython.asm_thumb
def velocity_asm(r0, r1, r2, r3):  # address, n << 5 | stride, state, acc
    mov(r4, r8)
    mov(r5, r9)
    mov(r6, r10)
    mov(r7, r11)
    push({r4, r5, r6, r7})
    lsr(r4, r1, 5)
    beq(NOTHING)
    ldr(r5, [r3, 28])
    add(r5, r5, r4)
    str(r5, [r3, 28])
    mov(r5, 31)
    and_(r1, r5)
    add(r1, r1, r1)
    mov(r9, r1)  # step in bytes
    mul(r4, r1)
    add(r4, r4, r0)  # end
    lsl(r5, r1, 6)  # of 64 samples
    push({r2, r3})
    push({r4, r5})
    ldr(r5, [r2, 24])
    ldr(r6, [r2, 28])
    ldr(r7, [r2, 32])
    # On the stack: where the group ends, q1, q2, b1, end, length of a group, state, acc
    push({r0, r5, r6, r7})
    ldr(r3, [r2, 20])  # f
    ldr(r4, [r2, 36])
    neg(r4, r4)
    mov(r8, r4)  # -bias
    ldr(r5, [r2, 16])
    cmp(r5, 0)
    bne(STARTED)
    mov(r5, 1)
    str(r5, [r2, 16])
    ldrh(r5, [r0, 0])
    add(r4, r4, r5)
    lsl(r4, r4, 14)
    str(r4, [r2, 0])
    label(STARTED)
    ldr(r1, [r2, 4])  # bp1
    ldr(r6, [r2, 8])  # lp2
    ldr(r7, [r2, 12])  # bp2
    ldr(r2, [r2, 0])  # lp1
    mov(r4, 0)
    mov(r11, r4)  # sum of h * l
    mov(r12, r4)  # of l * l
    mov(r14, r4)  # of h * h
    b(NEXT)
    label(ONE)
    asr(r4, r1, 9)
    data(2, 0x9D01)  # ldr r5, [sp, 4]: q1
    mul(r5, r4)
    mul(r4, r3)
    asr(r4, r4, 3)
    add(r2, r2, r4)
    add(r5, r5, r2)
    asr(r5, r5, 10)
    ldrh(r4, [r0, 0])
    data(2, 0x4448, 0x4444)  # add r0, r9; add r4, r8
    lsl(r4, r4, 4)
    sub(r5, r4, r5)  # what the first high-pass gives
    mov(r10, r5)
    mul(r5, r3)
    add(r1, r1, r5)
    asr(r4, r7, 9)
    data(2, 0x9D02)  # ldr r5, [sp, 8]: q2
    mul(r5, r4)
    mul(r4, r3)
    asr(r4, r4, 3)
    add(r6, r6, r4)
    add(r5, r5, r6)
    asr(r5, r5, 10)
    mov(r4, r10)
    sub(r5, r4, r5)
    mul(r5, r3)
    add(r7, r7, r5)
    asr(r5, r5, 8)
    data(2, 0x9C03)  # ldr r4, [sp, 12]: b1
    mul(r4, r5)
    sub(r4, r7, r4)
    asr(r4, r4, 9)  # velocity
    lsl(r5, r4, 20)
    lsr(r5, r5, 20)  # l
    asr(r4, r4, 12)  # h
    mov(r10, r4)
    mul(r4, r5)
    data(2, 0x44A3)  # add r11, r4
    mul(r5, r5)
    data(2, 0x44AC)  # add r12, r5
    mov(r4, r10)
    mul(r4, r4)
    data(2, 0x44A6)  # add r14, r4
    data(2, 0x9C00)  # ldr r4, [sp, 0]
    cmp(r0, r4)
    bne(ONE)
    push({r1, r2, r6, r7})
    data(2, 0x9F0B)  # ldr r7, [sp, 44]: acc
    ldr(r4, [r7, 8])
    ldr(r5, [r7, 12])
    mov(r2, 0)
    mov(r1, r12)
    add(r4, r4, r1)
    adc(r5, r2)
    mov(r1, r11)
    asr(r6, r1, 19)
    lsl(r1, r1, 13)
    add(r4, r4, r1)
    adc(r5, r6)
    mov(r1, r14)
    lsr(r6, r1, 8)
    lsl(r1, r1, 24)
    add(r4, r4, r1)
    adc(r5, r6)
    str(r4, [r7, 8])
    str(r5, [r7, 12])
    mov(r11, r2)
    mov(r12, r2)
    mov(r14, r2)
    pop({r1, r2, r6, r7})
    label(NEXT)
    data(2, 0x9C04, 0x9D05)  # ldr r4, [sp, 16]: end; ldr r5, [sp, 20]
    cmp(r0, r4)
    beq(DONE)
    add(r5, r5, r0)
    cmp(r5, r4)
    bls(WHOLE)
    mov(r5, r4)
    label(WHOLE)
    data(2, 0x9500)  # str r5, [sp, 0]
    b(ONE)
    label(DONE)
    data(2, 0x9C06)  # ldr r4, [sp, 24]: state
    str(r2, [r4, 0])
    str(r1, [r4, 4])
    str(r6, [r4, 8])
    str(r7, [r4, 12])
    pop({r4, r5, r6, r7})
    pop({r4, r5, r6, r7})
    label(NOTHING)
    pop({r4, r5, r6, r7})
    mov(r8, r4)
    mov(r9, r5)
    mov(r10, r6)
    mov(r11, r7)
    mov(r0, 0)  # a larger result would be allocated


@micropython.viper
def velocity(
    buf: ptr16, first: int, n: int, stride: int, bias: int, coef: ptr32, state: ptr32, acc
) -> object:
    state[5] = coef[0]
    state[6] = coef[1]
    state[7] = coef[2]
    state[8] = coef[3]
    state[9] = bias
    velocity_asm(uint(buf) + 2 * first, n << 5 | stride, state, acc)
