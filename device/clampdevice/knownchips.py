"""Chips by the value of their identity register, to say which one answers in place of another.

Owns the table; imported when an identity is wrong, so that it costs no memory before.

Ref: identity values. ADXL345, ADXL346: Linux drivers/input/misc/adxl34x.c (ID_ADXL345,
ID_ADXL346). LIS2DW12, IIS3DWB: ST's lis2dw12_reg.h and iis3dwb_reg.h (LIS2DW12_ID, IIS3DWB_ID).
InvenSense: Linux drivers/iio/imu/inv_mpu6050/inv_mpu_iio.h (INV_*_WHOAMI_VALUE).
"""

# Register that holds the identity: {value: chips}
KNOWN_CHIPS = {
    0x00: {0xE5: "ADXL345", 0xE6: "ADXL346"},
    0x0F: {0x44: "LIS2DW12", 0x7B: "IIS3DWB"},
    0x75: {
        0x68: "MPU-6000, MPU-6050 or MPU-9150",
        0x70: "MPU-6500",
        0x71: "MPU-9250",
        0x73: "MPU-9255",
        0x74: "MPU-6515",
        0x78: "MPU-6880",
        0xAF: "ICM-20608",
        0xAE: "ICM-20608D",
        0xA6: "ICM-20609",
        0x98: "ICM-20689",
        0x11: "ICM-20600",
        0x12: "ICM-20602",
        0x20: "ICM-20690",
        0xA9: "IAM-20680",
    },
}


def who_is(read, register: int, found: int) -> str:
    """Who answers `found` in the identity `register`, in words; `read` gives any register."""
    for at in sorted(KNOWN_CHIPS):
        value = found if at == register else read(at)
        if value in KNOWN_CHIPS[at]:
            return "this is a " + KNOWN_CHIPS[at][value]
    if found in (0x00, 0xFF):
        return "no chip answers; check wiring, chip select and supply"
    return "no chip known here"
