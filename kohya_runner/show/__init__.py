"""What people see: screens, tables, charts and pages."""
